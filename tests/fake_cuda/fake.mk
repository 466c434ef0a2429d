# The fake GPU: one library under the three names that kernels/cuda opens. Read by the Makefile.
#   make fake-cuda && LD_LIBRARY_PATH=build/fake_cuda build/cuda/qkengine ...
# It needs the headers of the CUDA toolkit, and nothing else needs it but the tests named here.
FAKE := build/fake_cuda$(if $(filter 1,$(SAN)),-san)
FAKE_SRC := $(wildcard tests/fake_cuda/*.c) $(filter-out %/backend_emulator.c,$(wildcard kernels/emulator/*.c)) \
            kernels/cuda/sources.c engine/base/error.c engine/base/mem.c engine/base/text.c
FAKE_OBJ := $(FAKE_SRC:%.c=$(FAKE)/%.o) $(EMULATED:$(B)/%=$(FAKE)/%) $(FAKE)/emulated/primitives.o
FAKE_LIB := $(FAKE)/libfakecuda.so
FAKE_FLAGS := -fPIC -isystem $(CUDA_HOME)/include

.PHONY: fake-cuda
ifeq ($(wildcard $(CUDA_HOME)/include/cublasLt.h),)
fake-cuda:
	@echo 'SKIPPED: the fake GPU needs the headers of the CUDA toolkit: CUDA_HOME=$(CUDA_HOME) has none'
else
fake-cuda: $(FAKE_LIB)
endif

$(FAKE)/kernels/emulator/%.o $(FAKE)/emulated/%.o $(FAKE)/tests/fake_cuda/%.o: DEFINES += -DQK_EMULATOR
$(FAKE)/kernels/cuda/sources.o: $(wildcard kernels/cuda/*.cu kernels/cuda/*.h)
$(FAKE)/%.o: %.c
	@mkdir -p $(@D)
	@echo '  CC      $< (fake GPU)'
	@$(CC) $(CFLAGS) $(FAKE_FLAGS) -c -o $@ $<
define fake_emulated_rule
$(FAKE)/emulated/$(1).o: kernels/cuda/$(word 1,$(subst ., ,$(1))).cu
	@mkdir -p $$(@D)
	@echo '  CC      $$< ($(word 2,$(subst ., ,$(1))) $(word 3,$(subst ., ,$(1))), fake GPU)'
	@$$(CC) $$(CFLAGS) $$(FAKE_FLAGS) -x c -DQK_SPEC=$(word 3,$(subst ., ,$(1))) \
	  -D$(word 2,$(subst ., ,$(1)))=$(word 3,$(subst ., ,$(1))) -c -o $$@ $$<
endef
$(foreach o,$(EMULATED:$(B)/emulated/%.o=%),$(eval $(call fake_emulated_rule,$(o))))

$(FAKE)/emulated/primitives.o: tests/gpu/primitives.cu
	@mkdir -p $(@D)
	@echo '  CC      $< (fake GPU)'
	@$(CC) $(CFLAGS) $(FAKE_FLAGS) -x c -c -o $@ $<
$(FAKE)/tests/fake_cuda/nvrtc.o: tests/gpu/primitives.cu

# One file under every name, so that the three libraries share what they know.
$(FAKE_LIB): $(FAKE_OBJ) tests/fake_cuda/symbols.map
	@echo '  LINK    $@'
	@$(CC) $(CFLAGS) -shared -Wl,-soname,libfakecuda.so -Wl,--version-script=tests/fake_cuda/symbols.map \
	  $(if $(filter 1,$(SAN)),,-Wl,-z,defs) -o $@ $(FAKE_OBJ) -lm -lpthread
	@for name in libcuda.so.1 libnvrtc.so.13 libcublasLt.so.13; do ln -sf libfakecuda.so $(FAKE)/$$name; done

# Tests that need the fake: in builds with the CUDA backend only.
FAKE_TESTS := $(B)/tests/test_fake_cuda $(B)/tests/test_fake_nvrtc $(B)/tests/test_fake_cublas \
              $(B)/tests/test_cuda_runtime $(B)/tests/test_cuda_failures
TESTS := $(if $(filter 1,$(CUDA)),$(TESTS),$(filter-out $(FAKE_TESTS),$(TESTS)))
# An old-style rpath: the sanitizers call dlopen for the program, and a new one would be theirs.
$(FAKE_TESTS): $(B)/tests/%: $(B)/tests/%.o $(LIB) $(FAKE_LIB)
	@echo '  LINK    $@'
	@$(CC) $(CFLAGS) -o $@ $^ -Wl,--disable-new-dtags,-rpath,'$$ORIGIN/../../$(notdir $(FAKE))' $(LDLIBS)
$(B)/tests/test_cuda_failures: | $(B)/qkengine
.PHONY: fake-tests
fake-tests: $(FAKE_TESTS)
-include $(FAKE_OBJ:.o=.d)
