/* One test per hardware primitive: the kernels of primitives.cu on the GPU and on the emulator,
 * from the same source. What they write must be equal bit for bit; the arithmetic that the hardware
 * approximates must be within the error that its manual states of the true value.
 *
 *   primitives                    on the GPU; status 77 where there is none
 *   primitives emulator           the emulator's half alone: no fault, errors as stated
 *   primitives compile sm_90a ... only through NVRTC, which needs no GPU
 *
 * Errors: PTX ISA (ex2.approx, rcp.approx) and CUDA C++ Programming Guide (appendix "Mathematical
 * functions", single precision), in units of the last place of the correctly rounded result.
 *
 * next: tests/gpu/products.c */
#include "tests/emulated.h"
#include "tests/gpu/primitives.cu"

#include "kernels/cuda/compile.h"
#include "kernels/cuda/cuda.h"

extern const char primitives_text[];
__asm__(".section .rodata,\"a\"\nprimitives_text:\n.incbin \"tests/gpu/primitives.cu\"\n.byte 0\n"
        ".previous");

enum { INPUTS = 2048, MAX_RESULTS = 65536 };

static float as_float(u32 bits)
{
    return emu_float(bits);
}

/* ---- inputs ---- */

static void fill_distinct(u32 *in)
{
    for (u32 i = 0; i < INPUTS; i++) in[i] = i * 2654435761u + 12345;
}

/* Borders and middles of the 16-bit formats, infinities, then numbers of every size. Of two in a
 * pair at most one is NaN, and no two are zeros: which one `larger` takes is not promised. */
static void fill_floats(u32 *in)
{
    static const u32 special[] = {
        0x00000000, 0x3F800000, 0x80000000, 0xBF800000, 0x7F800000, 0xFF800000, /* 0 1 inf */
        0x7FC00000, 0x3F800000, 0x40000000, 0xFFC12345,                         /* NaN */
        0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF, 0x7F7FFFFF, 0x7F7F7FFF, /* bf16 ties */
        0x3F801000, 0x3F803000, 0x3F801001, 0x3F800FFF, 0x477FF000, 0x477FEFFF, /* f16 ties */
        0x477FE000, 0x47800000, 0x38800000, 0x387FC000, 0x33800000, 0x33000000, /* f16 small */
        0x33000001, 0x337FFFFF, 0x33C00000, 0x387FFFFF, 0x00008000, 0x00018000, /* subnormal */
        0x00000001, 0x807FFFFF, 0x00800000, 0x80808000,
    };
    enum { N = sizeof special / sizeof *special };
    fill_distinct(in);
    for (int i = 0; i < INPUTS; i++) {
        if (i < N) in[i] = special[i];
        if (i >= N && (in[i] & 0x7F800000) == 0x7F800000) in[i] ^= 0x40000000; /* no NaN */
    }
}

/* Arguments for the approximations: special ones, then a sweep that is dense around 0. */
static void fill_arguments(u32 *in, float most)
{
    static const float special[] = {
        0,  1,  -1,  INFINITY,  -INFINITY, NAN,   0.5f,     -0.5f,  2,          3,
        -3, 10, -10, 0x1p-126f, 1e-6f,     1e-3f, 0x1p-30f, 0.125f, 0.9999999f, 1.0000001f};
    enum { N = sizeof special / sizeof *special, ARGUMENTS = 8 * BLOCK };
    for (int i = 0; i < INPUTS; i++) {
        float x = (float)(i - N) / (ARGUMENTS - N) * 2 - 1;
        in[i] = emu_bits(i < N ? special[i] : most * x * fabsf(x));
    }
}

static void fill_for_exp2(u32 *in)
{
    fill_arguments(in, 125);
    in[0] = emu_bits(-140); /* the result is subnormal, so 0 */
    in[1] = emu_bits(200);
}
static void fill_for_reciprocal(u32 *in)
{
    fill_arguments(in, 1e30f);
}
static void fill_for_exp(u32 *in)
{
    fill_arguments(in, 88);
}
static void fill_for_tanh(u32 *in)
{
    fill_arguments(in, 12);
}
static void fill_for_erfc(u32 *in)
{
    fill_arguments(in, 9);
}
static void fill_for_root(u32 *in)
{
    fill_arguments(in, 1e30f);
    for (int i = 0; i < INPUTS; i++) in[i] &= 0x7FFFFFFF;
}

/* Whole numbers, different in every element of a and of b, and sums below 2^24: no order of adding
 * rounds. */
static void fill_fragments(u32 *in)
{
    for (int t = 0; t < BLOCK; t++) {
        u32 *v = in + 16 * t;
        int lane = t % WARP, warp = t / WARP;
        for (int i = 0; i < 4; i++) {
            int n = 8 * lane + 2 * i; /* 256 elements of a */
            v[i] = pack_bf16((float)((n + 64 * warp) % 256 - 128),
                             (float)((n + 1 + 64 * warp) % 256 - 128));
        }
        for (int i = 0; i < 2; i++) {
            int n = 4 * lane + 2 * i; /* 128 elements of b */
            v[4 + i] = pack_bf16((float)((5 * n + 32 * warp) % 128 - 64),
                                 (float)((5 * n + 5 + 32 * warp) % 128 - 64));
        }
        for (int i = 0; i < 4; i++) v[8 + i] = emu_bits((float)(1000 * t + 250 * i));
        v[6] = v[7] = v[12] = v[13] = v[14] = v[15] = 0;
    }
}

/* ---- judging ---- */

/* How far two results may be apart: NULL for not a bit. */
typedef bool (*equality)(u32 got, u32 want);

/* A NaN's other bits are not promised in these conversions. */
static bool same_f16(u32 got, u32 want)
{
    bool nan = (got & 0x7FFF) > 0x7C00 && (want & 0x7FFF) > 0x7C00;
    return got == want || (nan && !(got >> 16));
}
static bool same_float(u32 got, u32 want)
{
    return got == want || (isnan(as_float(got)) && isnan(as_float(want)));
}

static double true_reciprocal(double x)
{
    return 1 / x;
}

typedef struct primitive {
    const char *kernel;
    void (*fill)(u32 *in);
    int grid_x, grid_y;
    size_t results, shared;
    equality same;
    double (*truth)(double x); /* results[i] approximates truth(in[i]) */
    double ulps;               /* from the correctly rounded result */
    bool flushes;              /* subnormal results become 0 */
} primitive;

enum { APPROXIMATED = 8 * BLOCK };

static const primitive primitives[] = {
    {"p_ids", fill_distinct, 3, 2, BLOCK * 6, 0, NULL, NULL, 0, false},
    {"p_shuffles", fill_distinct, 1, 1, BLOCK * 16, 0, NULL, NULL, 0, false},
    {"p_ballots", fill_distinct, 1, 1, BLOCK * 6, 0, NULL, NULL, 0, false},
    {"p_barriers", fill_distinct, 1, 1, BLOCK * 4, BLOCK * 4, NULL, NULL, 0, false},
    {"p_global", fill_distinct, 1, 1, BLOCK * 16, 0, NULL, NULL, 0, false},
    {"p_shared", fill_distinct, 1, 1, BLOCK * 8, BLOCK * 32, NULL, NULL, 0, false},
    {"p_copies", fill_distinct, 1, 1, BLOCK * 20, BLOCK * 64, NULL, NULL, 0, false},
    {"p_round", fill_floats, 1, 1, BLOCK * 4, 0, NULL, NULL, 0, false},
    {"p_round_f16", fill_floats, 1, 1, BLOCK * 2, 0, same_f16, NULL, 0, false},
    {"p_widen", fill_floats, 1, 1, BLOCK * 4, 0, NULL, NULL, 0, false},
    {"p_widen_f16", fill_distinct, 8, 1, 65536, 0, same_float, NULL, 0, false},
    {"p_exp2", fill_for_exp2, 1, 1, APPROXIMATED, 0, NULL, exp2, 2, true},
    {"p_reciprocal", fill_for_reciprocal, 1, 1, APPROXIMATED, 0, NULL, true_reciprocal, 1, true},
    {"p_exp", fill_for_exp, 1, 1, APPROXIMATED, 0, NULL, exp, 2, false},
    {"p_tanh", fill_for_tanh, 1, 1, APPROXIMATED, 0, NULL, tanh, 2, false},
    {"p_erfc", fill_for_erfc, 1, 1, APPROXIMATED, 0, NULL, erfc, 4, false},
    {"p_root", fill_for_root, 1, 1, APPROXIMATED, 0, NULL, sqrt, 0, false},
    {"p_ldmatrix", fill_distinct, 1, 1, BLOCK * 8, 2048, NULL, NULL, 0, false},
    {"p_mma", fill_fragments, 1, 1, BLOCK * 4, 0, NULL, NULL, 0, false},
    /* Last: a GPU that reads here is lost for what would follow. */
    {"p_copy_nowhere", fill_distinct, 1, 1, BLOCK * 4, BLOCK * 16, NULL, NULL, 0, false},
};
enum { N_PRIMITIVES = sizeof primitives / sizeof *primitives };

/* Distance in units of the last place of the true value; infinite results must be infinite. */
static double ulps_from(double got, double truth, bool flushes)
{
    if (isnan(truth)) return isnan(got) ? 0 : INFINITY;
    if (fabs(truth) > 0x1.FFFFFFp127) return got == copysign(INFINITY, truth) ? 0 : INFINITY;
    if (flushes && fabs(truth) < 0x1p-126) return got == 0 ? 0 : INFINITY;
    int exponent;
    frexp(truth, &exponent);
    return fabs(got - truth) / ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

/* The largest distance, and where. */
static double worst_ulps(const primitive *p, const u32 *in, const u32 *results, size_t *where)
{
    double worst = 0;
    for (size_t i = 0; i < p->results; i++) {
        double u =
            ulps_from((double)as_float(results[i]), p->truth((double)as_float(in[i])), p->flushes);
        if (u <= worst) continue;
        worst = u;
        *where = i;
    }
    return worst;
}

/* ---- running ---- */

/* Runs the kernel on one backend; the results, not its own memory. */
static void run_on(const qk_backend *b, const primitive *p, const u32 *in, u32 *results)
{
    qk_device *dev = open_device(b, QK_F32);
    qk_tensor t_in, t_out = tensor(b, dev, "out", QK_F32, 1, p->results, NULL);
    QK_ASSERT(b->alloc(dev, QK_F32, 1, INPUTS, "in", &t_in, &test_error) == QK_OK);
    b->upload(dev, t_in, in, QK_F32);
    primitive_args args = {t_out.data, t_in.data};
    cuda_launch l = {.file = "primitives",
                     .kernel = p->kernel,
                     .macro = "PRIMITIVES",
                     .grid_x = (size_t)p->grid_x,
                     .grid_y = (size_t)p->grid_y,
                     .shared_bytes = p->shared,
                     .args = &args,
                     .args_bytes = sizeof args,
                     .defines = "",
                     .threads = BLOCK};
    dev->machine->launch(dev, &l);
    b->download(dev, results, t_out);
    qk_status s = b->sync(dev, 0, &test_error);
    CHECK_MSG(s == QK_OK, "%s on %s: %s", p->kernel, b->name, test_error.message);
    b->free(dev, &t_in), b->free(dev, &t_out);
    b->close(dev);
}

static const primitive *current;

static void test_primitive(void)
{
    const primitive *p = current;
    static u32 in[INPUTS], got[MAX_RESULTS], want[MAX_RESULTS];
    QK_ASSERT(p->results <= MAX_RESULTS);
    p->fill(in);
    run_on(&qk_backend_emulator, p, in, want);
    const char *fault = emu_backend_fault();
    CHECK_MSG(!fault[0], "%s on the emulator: %s", p->kernel, fault);
    run_on(tested, p, in, got);
    if (p->truth) {
        size_t at = 0;
        double here = worst_ulps(p, in, want, &at), there = worst_ulps(p, in, got, &at);
        printf("%-16s off by %.2f ulp at %.9g (emulator %.2f, allowed %.1f)\n", p->kernel, there,
               (double)as_float(in[at]), here, p->ulps + 0.5);
        /* the true value is a double: half an ulp of rounding, and the last bits of the library */
        CHECK_MSG(here <= p->ulps + 0.501 && there <= p->ulps + 0.501,
                  "%s(%.9g) is %.9g, off by %.2f ulp", p->kernel, (double)as_float(in[at]),
                  (double)as_float(got[at]), there);
        return;
    }
    size_t different = 0, first = 0;
    for (size_t i = p->results; i-- > 0;)
        if (p->same ? !p->same(got[i], want[i]) : got[i] != want[i]) first = i, different++;
    printf("%-16s %5zu results, %zu differ\n", p->kernel, p->results, different);
    CHECK_MSG(!different, "%s: %zu of %zu differ, first result %zu: %08X, expected %08X", p->kernel,
              different, p->results, first, got[first], want[first]);
}

/* ---- only compiling ---- */

static const char *arch;

static void test_compiles(void)
{
    const cuda_build build = {"primitives", "PRIMITIVES", 0, ""};
    qk_buf cubin = {0}, log = {0};
    qk_status s = cuda_compile(&build, arch, "--ptxas-options=-v", &cubin, &log, &test_error);
    CHECK_MSG(s == QK_OK && cubin.size > 0, "%s", test_error.message);
    CHECK_MSG(log.size && !strstr(qk_buf_str(&log), "warning"), "%s", qk_buf_str(&log));
    qk_buf_free(&cubin);
    qk_buf_free(&log);
}

int main(int argc, char **argv)
{
    const cuda_source source = {"tests/gpu/primitives.cu", primitives_text};
    cuda_add_source(&source);
    if (has_argument(argc, argv, "compile")) {
        for (int i = 2; i < argc; i++) {
            arch = argv[i];
            RUN(test_compiles);
        }
        return test_summary("gpu primitives compile");
    }
    if (!has_argument(argc, argv, "emulator")) test_on_gpu();
    for (current = primitives; current < primitives + N_PRIMITIVES; current++) RUN(test_primitive);
    return test_summary("gpu primitives");
}
