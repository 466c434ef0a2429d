# qkengine: `make` builds ./qkengine for the CPU. `make help` lists the rest.
#
# Objects of a variant live in build/<variant>/, so switching CUDA=1 or SAN=1 never needs a clean.
# Override OPT, not CFLAGS.

MAKEFLAGS += -r
CC ?= cc
ifeq ($(origin CC),default)
# gcc's ThreadSanitizer wants a run-time library of its own, clang's comes with it.
CC := $(if $(filter 1,$(TSAN)),clang,gcc)
endif
PREFIX ?= /usr/local
VARIANT := $(if $(filter 1,$(CUDA)),cuda,cpu)$(if $(filter 1,$(SAN)),-san)$(if $(filter 1,$(TSAN)),-tsan)
B := build/$(VARIANT)

OPT ?= -O2 -g
WARN := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wvla -Wpointer-arith \
        -Werror=implicit-function-declaration
# -ffp-contract=off: a*b+c is never fused unless the source says fmaf. Never fast-math.
CFLAGS = $(OPT) -std=c11 -D_GNU_SOURCE -I. $(WARN) -fno-math-errno -ffp-contract=off -fopenmp-simd \
         -MMD -MP $(DEFINES)
LDLIBS := -lyaml -lzstd -lsnappy -lz -llz4 -lbrotlidec -lcurl -lcrypto -lm \
          -ldl -lpthread
ifeq ($(SAN),1)
OPT := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all
# The undefined-behaviour checks multiply the unrolled inner loops until gcc takes minutes.
ISA_OPT := -fno-sanitize=undefined -fno-var-tracking
endif
ifeq ($(TSAN),1)
OPT := -O1 -g -fsanitize=thread
ISA_OPT := -O1
endif
ISA_OPT ?= -O3
# The headers of the CUDA toolkit; its libraries are opened when the program runs.
CUDA_HOME ?= /usr/local/cuda
ifeq ($(CUDA),1)
ifeq ($(wildcard $(CUDA_HOME)/include/cublasLt.h),)
$(error CUDA=1 needs the headers of the CUDA toolkit (cuda.h, nvrtc.h, cublasLt.h): CUDA_HOME=$(CUDA_HOME) has none)
endif
DEFINES += -DQK_CUDA -isystem $(CUDA_HOME)/include
endif

MAIN := engine/main.c
SRC := $(filter-out $(MAIN),$(wildcard engine/*.c engine/*/*.c kernels/*.c kernels/ref/*.c \
         kernels/cpu/*.c formats/*.c formats/*/*.c sampler/*.c hub/*.c))
ifeq ($(CUDA),1)
SRC += $(wildcard kernels/cuda/*.c)
endif
OBJ := $(SRC:%.c=$(B)/%.o)

# kernels/cpu/isa/*.c hold the inner loops. They are compiled once per instruction set, and
# kernels/cpu/dispatch.c picks one at run time.
AMX_SRC := $(wildcard kernels/cpu/isa/*_amx.c)
ISA_SRC := $(filter-out $(AMX_SRC),$(wildcard kernels/cpu/isa/*.c))
ISAS := portable
ifneq ($(filter x86_64 amd64,$(shell uname -m)),)
ISAS += avx2 avx512 avx512bf16 amx
DEFINES += -DQK_X86
endif
ISA_FLAGS_portable   :=
ISA_FLAGS_avx2       := -mavx2 -mfma -mf16c
ISA_FLAGS_avx512     := -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq
ISA_FLAGS_avx512bf16 := $(ISA_FLAGS_avx512) -mavx512bf16
ISA_FLAGS_amx        := $(ISA_FLAGS_avx512bf16) -mamx-tile -mamx-bf16
ISA_OBJ := $(foreach i,$(ISAS),$(ISA_SRC:%.c=$(B)/%.$(i).o)) \
           $(if $(filter amx,$(ISAS)),$(AMX_SRC:%.c=$(B)/%.amx.o))

LIB := $(B)/libqkengine.a
TESTS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/test_*.c))

.PHONY: all qkengine test test-rest test-all unit demo check format install clean help bench fuzz print-libs
all: qkengine

# Whatever variant it was before, and however new: a file's age says nothing here.
qkengine: $(B)/qkengine
	@[ "$$(readlink $@)" = $< ] || ln -sf $< $@

# What the assembler includes, which -MMD does not see.
$(B)/kernels/cuda/sources.o: $(wildcard kernels/cuda/*.cu kernels/cuda/*.h)
$(B)/engine/families/presets.o: $(wildcard engine/families/presets/*.json)

$(B)/qkengine: $(B)/$(MAIN:.c=.o) $(LIB)
	@echo '  LINK    $@'
	@$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

$(LIB): $(OBJ) $(ISA_OBJ)
	@rm -f $@ && ar rcs $@ $^

# Says what is missing before a compiler does.
$(B)/libraries: ; @tests/tools/deps.sh look >&2 && mkdir -p $(@D) && touch $@

$(B)/%.o: %.c | $(B)/libraries
	@mkdir -p $(@D)
	@echo '  CC      $<'
	@$(CC) $(CFLAGS) -c -o $@ $<

define isa_rule
$(B)/kernels/cpu/isa/%.$(1).o: kernels/cpu/isa/%.c
	@mkdir -p $$(@D)
	@echo '  CC      $$< ($(1))'
	@$$(CC) $$(CFLAGS) $$(ISA_OPT) $$(ISA_FLAGS_$(1)) -DQK_ISA=$(1) -DQK_ISA_$(1) -c -o $$@ $$<
endef
$(foreach i,$(ISAS),$(eval $(call isa_rule,$(i))))

$(B)/tests/%: $(B)/tests/%.o $(LIB)
	@echo '  LINK    $@'
	@$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)
# Small copies of the goldens, for where ../shared is not.
build/golden/unpacked: tests/data/golden.tar.xz
	@rm -rf build/golden && mkdir -p build && tar -xJf $< -C build && touch $@
$(TESTS): | build/golden/unpacked
# The oracle for our regexes.
$(B)/tests/test_tokenizer_regex: LDLIBS += -lpcre2-8

# ---- CUDA kernels without a GPU ----
# The kernels of kernels/cuda/*.cu compiled as C for the emulator (kernels/emulator), once for every
# value of the constant that a file is specialised by; QK_SPEC tells the builds apart.
EMU_VEC      := embed rmsnorm glu qkv_post experts
EMU_FORMAT   := gather attention_v1
EMU_HEAD_DIM := attention_v2 attention_v3
EMU_HEAD_DIM_F32 := attention_v2
EMULATED := $(foreach f,$(EMU_VEC),$(foreach v,1 4,$(B)/emulated/$(f).VEC.$(v).o)) \
            $(foreach f,$(EMU_FORMAT),$(foreach v,0 1,$(B)/emulated/$(f).FORMAT.$(v).o)) \
            $(foreach f,$(EMU_HEAD_DIM),$(foreach v,64 80 96 128 256,$(B)/emulated/$(f).HEAD_DIM.$(v).o)) \
            $(foreach f,$(EMU_HEAD_DIM_F32),$(foreach v,64 80 96 128,$(B)/emulated/$(f).HEAD_DIM_F32.$(v).o))
EMULATOR := $(patsubst %.c,$(B)/%.o,$(wildcard kernels/emulator/*.c) \
              kernels/cuda/lists.c kernels/cuda/ops.c kernels/cuda/ops_attention.c) $(EMULATED)
$(B)/kernels/emulator/%.o $(B)/emulated/%.o $(B)/tests/test_cuda_emulator.o: DEFINES += -DQK_EMULATOR

# build/../emulated/NAME.MACRO.VALUE.o from kernels/cuda/NAME.cu
define emulated_rule
$(B)/emulated/$(1).o: kernels/cuda/$(word 1,$(subst ., ,$(1))).cu
	@mkdir -p $$(@D)
	@echo '  CC      $$< ($(word 2,$(subst ., ,$(1))) $(word 3,$(subst ., ,$(1))))'
	@$$(CC) $$(CFLAGS) -x c -DQK_SPEC=$(word 3,$(subst ., ,$(1))) \
	  -D$(word 2,$(subst ., ,$(1)))=$(word 3,$(subst ., ,$(1))) -c -o $$@ $$<
endef
$(foreach o,$(EMULATED:$(B)/emulated/%.o=%),$(eval $(call emulated_rule,$(o))))

include tests/fake_cuda/fake.mk
EMU_TESTS := $(filter-out $(FAKE_TESTS),$(filter $(B)/tests/test_cuda_%,$(TESTS)))
$(EMU_TESTS): $(B)/tests/%: $(B)/tests/%.o $(EMULATOR) $(LIB)
	@echo '  LINK    $@'
	@$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)
# Every specialisation through NVRTC, where a CUDA toolkit is installed; no GPU is needed.
build/cuda/tests/cuda_nvrtc: build/cuda/tests/cuda_nvrtc.o build/cuda/libqkengine.a
	@echo '  LINK    $@'
	@$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

.PHONY: cuda-gates cubins
cuda-gates: $(filter $(B)/tests/test_cuda_%,$(TESTS))
	@CUDA_HOME=$(CUDA_HOME) tests/cuda_gates.sh $(B) '$(T)'

# Machine code for GPUs whose machines have no NVRTC; `make install CUDA=1` takes it along.
ARCHS ?= sm_80 sm_86 sm_89 sm_90a sm_100a sm_120a
build/cuda/make_cubins: build/cuda/kernels/cuda/tools/make_cubins.o build/cuda/libqkengine.a
	@echo '  LINK    $@'
	@$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)
cubins:
	@$(MAKE) --no-print-directory CUDA=1 build/cuda/make_cubins
	@build/cuda/make_cubins build/cuda/cubins $(ARCHS)
-include $(EMULATOR:.o=.d)

# ---- on a GPU: tests/gpu/README.md; with CUDA=1 ----
GPU_PROGRAMS := $(patsubst tests/gpu/%.c,build/cuda/tests/gpu/%,$(wildcard tests/gpu/*.c))
$(GPU_PROGRAMS): build/cuda/tests/gpu/%: build/cuda/tests/gpu/%.o $(EMULATOR:$(B)/%=build/cuda/%) build/cuda/libqkengine.a
	@echo '  LINK    $@'
	@$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)
build/cuda/tests/gpu/primitives.o: DEFINES += -DQK_EMULATOR
build/cuda/tests/gpu/primitives.o: tests/gpu/primitives.cu
.PHONY: gpu-check gpu-bench lab gpu-programs
gpu-check gpu-bench lab: ; @tests/gpu/run.sh $@
gpu-programs: $(GPU_PROGRAMS) $(patsubst %,build/cuda/tests/test_cuda_%,rows attention forward)
-include $(GPU_PROGRAMS:=.d)
# ---- end of CUDA kernels without a GPU ----

# All C tests, or those with T in their name, built and run.
UNIT := $(if $(T),$(foreach t,$(TESTS),$(if $(findstring $(T),$(notdir $(t))),$(t))),$(TESTS))
unit: $(UNIT)
	@tests/run_unit.sh $(B) $(UNIT)

# tests/suites lists what each of these runs; T: only suites with T in their name.
test: ; @tests/run.sh test '$(T)'
test-rest: ; @tests/run.sh rest '$(T)'
test-all: ; @tests/run.sh all '$(T)'

demo:
	@tests/tools/deps.sh build && $(MAKE) --no-print-directory qkengine && tests/demo/run.sh

check: $(TESTS)
	@rc=0; for about in layers names style; do tests/check_$$about.sh || rc=1; done; \
	tests/run_unit.sh $(B) $(TESTS) || exit 1; [ $$rc = 0 ] || { echo 'check: see above the tests'; exit 1; }

format:
	clang-format -i $$(git ls-files '*.c' '*.h' '*.cu' | grep -v unicode_tables)

bench: qkengine $(B)/tests/bench/parquet_text $(B)/tests/bench/parquet_vectors
	@tests/bench/run.sh

fuzz: ; @tests/fuzz/run.sh $(T)

# ---- fuzz programs, for tests/fuzz/run.sh ----
# build/fuzz/fuzz_NAME-replay runs a corpus; build/fuzz/fuzz_NAME searches, on parsers that clang has compiled so that
# coverage guides the search.
FUZZ_FLAGS := -std=c11 -D_GNU_SOURCE -I. -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_OBJ := $(patsubst %.c,build/fuzz/obj/%.o,$(filter-out kernels/backend.c kernels/cpu/% kernels/cuda/%,$(SRC)))
# What a target needs beyond the usual.
FUZZ_LINK = $$(sed -n '1s/^.*link: *//p' $<)
build/fuzz/%-replay: tests/fuzz/%.c tests/fuzz/replay.c build/cpu-san/libqkengine.a tests/fuzz/fuzz.h
	@mkdir -p $(@D)
	@gcc $(FUZZ_FLAGS) -Werror=implicit-function-declaration -o $@ $(filter-out %.h,$^) $(FUZZ_LINK) $(LDLIBS)
build/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	@clang $(FUZZ_FLAGS) -MMD -MP -w -fsanitize=fuzzer-no-link -c -o $@ $<
build/fuzz/%: tests/fuzz/%.c tests/fuzz/one_backend.c $(FUZZ_OBJ) tests/fuzz/fuzz.h
	@clang $(FUZZ_FLAGS) -w -fsanitize=fuzzer -o $@ $(filter-out %.h,$^) $(FUZZ_LINK) $(LDLIBS)
build/fuzz/obj/engine/families/presets.o: $(wildcard engine/families/presets/*.json)
-include $(FUZZ_OBJ:.o=.d)

print-libs: ; @echo $(LDLIBS)

# What the program says of itself becomes the manual and the completion of three shells.
SHARE := $(DESTDIR)$(PREFIX)/share
$(B)/share/qkengine.1: $(B)/qkengine ; @mkdir -p $(@D) && $< man >$@
$(B)/share/qkengine.%: $(B)/qkengine ; @mkdir -p $(@D) && $< completion $* >$@
install: qkengine $(addprefix $(B)/share/qkengine.,1 bash zsh fish)
	install -D -m 755 $(B)/qkengine $(DESTDIR)$(PREFIX)/bin/qkengine
	install -D -m 644 $(B)/share/qkengine.1 $(SHARE)/man/man1/qkengine.1
	install -D -m 644 $(B)/share/qkengine.bash $(SHARE)/bash-completion/completions/qkengine
	install -D -m 644 $(B)/share/qkengine.zsh $(SHARE)/zsh/site-functions/_qkengine
	install -D -m 644 $(B)/share/qkengine.fish $(SHARE)/fish/vendor_completions.d/qkengine.fish
	if [ -d $(B)/cubins ]; then install -d $(SHARE)/qkengine/cubins && \
	  install -m 644 $(B)/cubins/*.cubin $(SHARE)/qkengine/cubins; fi

clean:
	rm -rf build qkengine

help:
	@printf '%s\n' 'make           ./qkengine for the CPU' \
	  'make CUDA=1    the same with the CUDA backend; needs the headers of the CUDA toolkit' \
	  'make cubins    compiles the kernels ahead, for machines without NVRTC; ARCHS=sm_90a' \
	  'make SAN=1     with the address and undefined-behaviour sanitizers' \
  'make TSAN=1    with the thread sanitizer: clang; tests/interop/threads.py' \
	  'make demo      run it on a tiny checkpoint and a few texts of this repository' \
	  'make check     before a commit: include arrows, names of files in text, format, sizes, C tests' \
	  'make test      these and every suite but the longest; installs what it needs; T=hub: only some' \
	  'make test-all  every test: make test and make test-rest' \
	  'make unit T=json  only the C tests, of those the ones with "json" in their name' \
	  'make cuda-gates  the CUDA kernels, in full, without a GPU: emulator, NVRTC, seeded bugs; T=rows: only some' \
	  'make gpu-check  on a machine with a GPU: everything that only a GPU can show; SANITIZER=1' \
  'make gpu-bench  its speed, as tables; make lab: the kernels rung by rung' \
	  'make bench     speed and memory, against pyarrow and transformers' \
	  'make fuzz T=60 fuzz every parser for T seconds each' \
	  'make install PREFIX=/usr/local  the program, its manual, completion for bash, zsh and fish'

-include $(OBJ:.o=.d) $(ISA_OBJ:.o=.d) $(B)/$(MAIN:.c=.d) $(TESTS:=.d)
.SECONDARY:
.DELETE_ON_ERROR:
