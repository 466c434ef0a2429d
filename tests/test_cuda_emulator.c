/* The emulator itself: kernels that are wrong in one way each, and the message that names it; the
 * primitives against what the PTX ISA says; barriers that do order.
 *
 * A checker that accepts everything would pass every other test of kernels/cuda. */
#include "tests/test.h"

#include "kernels/cuda/port.h"
#include "kernels/emulator/emulator.h"

enum { N = 64 };

typedef struct test_args {
    float *out;
    const float *in;
    int variant;
} test_args;

/* ---- one mistake each ---- */

KERNEL(shared_race, N, test_args)
{
    u32 at = shared_base() + 4u * (u32)thread_id();
    name_shared(shared_base(), 4 * N, "numbers");
    st_shared_f32(at, (float)thread_id());
    if (a.variant == 1) sync_block();
    if (a.variant == 2) sync_warp(); /* not enough: the neighbour is in another warp */
    st_f32(a.out + thread_id(), ld_shared_f32(shared_base() + 4u * (u32)((thread_id() + 32) % N)));
}

KERNEL(warp_race, N, test_args)
{
    u32 base = shared_base() + 128u * (u32)(thread_id() / WARP), lane = (u32)thread_id() % WARP;
    st_shared_f32(base + 4 * lane, (float)thread_id());
    if (a.variant == 1) sync_warp();
    if (a.variant == 2) shuffle_xor(0, 1); /* lanes meet, but memory is not ordered */
    st_f32(a.out + thread_id(), ld_shared_f32(base + 4 * (lane ^ 5)));
}

/* Reads, then the place is reused: write after read. */
KERNEL(reuse_race, N, test_args)
{
    u32 at = shared_base() + 4u * (u32)thread_id();
    st_shared_f32(at, 1);
    sync_block();
    float v = ld_shared_f32(shared_base() + 4u * (u32)(N - 1 - thread_id()));
    if (a.variant == 1) sync_block();
    st_shared_f32(at, 2);
    st_f32(a.out + thread_id(), v);
}

KERNEL(missing_wait, N, test_args)
{
    u32 at = shared_base() + 16u * (u32)thread_id();
    name_shared(shared_base(), 16 * N, "tile");
    copy_async16(at, a.in + 4 * (thread_id() % 4), 1);
    copy_commit();
    copy_async16(at + 16 * N, a.in, 0);
    copy_commit();
    if (a.variant == 1) copy_wait(1); /* the first group, which is enough for `at` */
    if (a.variant == 2) copy_wait(2); /* neither */
    if (a.variant == 3) copy_wait(0);
    float v = ld_shared_f32(at);
    copy_wait(0);
    if (a.variant == 3) v = ld_shared_f32(shared_base() + 16u * (u32)(thread_id() ^ 1));
    st_f32(a.out + thread_id(), v + ld_shared_f32(at + 16 * N));
}

KERNEL(never_waits, N, test_args)
{
    copy_async16(shared_base() + 16u * (u32)thread_id(), a.in, 1);
    copy_commit();
}

KERNEL(uninitialised, N, test_args)
{
    name_shared(shared_base(), 4 * N, "sums");
    st_f32(a.out + thread_id(), ld_shared_f32(shared_base() + 4u * (u32)thread_id()));
}

KERNEL(outside, N, test_args)
{
    float v[4];
    if (a.variant == 0) st_f32(a.out + N + thread_id(), 1);
    if (a.variant == 1) ld_f32(a.in - 1);
    if (a.variant == 2) st_shared_f32(shared_base() + 4 * 512, 1);
    if (a.variant == 3) st_shared_f32(0, 1); /* a forgotten base */
    if (a.variant == 4) ld_f32x4(v, a.in + 1);
    if (a.variant == 5) st_shared_f32(shared_base() + 2, 1);
    if (a.variant == 6) st_f32((float *)(size_t)a.in, 1);
    if (a.variant == 7) copy_async16(shared_base() + 8, a.in, 1);
    if (a.variant == 8) ld_f32x4(v, a.in + 16 - 2);
    if (a.variant == 9) ld_f32((const float *)16);
}

KERNEL(deadlock, N, test_args)
{
    if (a.variant == 0 && thread_id() < WARP) sync_block();
    if (a.variant == 1) barrier_sync(1, thread_id() < WARP ? N : WARP); /* they count differently */
    if (a.variant == 2 && thread_id() != 3) sync_warp();
    if (a.variant == 3 && thread_id() < WARP) barrier_sync(2, N);
}

KERNEL(split_warp, N, test_args)
{
    if (thread_id() % 2)
        shuffle_xor(1, 1);
    else
        sync_warp();
    (void)a;
}

/* Blocks are not ordered: one writes what another reads or writes. */
KERNEL(block_race, WARP, test_args)
{
    if (a.variant == 0) st_f32(a.out + thread_id(), (float)block_id());
    if (a.variant == 1 && block_id() == 1) st_f32(a.out, ld_f32(a.out + 32));
    if (a.variant == 1 && block_id() == 0) st_f32(a.out + 32 + thread_id(), 1);
    if (a.variant == 2 && block_id() == 0) st_f32(a.out + thread_id(), ld_f32(a.out + 32));
    if (a.variant == 2 && block_id() == 1) st_f32(a.out + 32 + thread_id(), 1);
    if (a.variant == 3) st_f32(a.out + 32 * block_id() + thread_id(), 1); /* each its own: right */
}

KERNEL(global_race, N, test_args)
{
    st_f32(a.out + thread_id(), 1);
    if (a.variant == 1) sync_block();
    st_f32(a.out + thread_id(), 1 + ld_f32(a.out + (thread_id() + 1) % N) * 0);
}

/* Half the block produces, the other half consumes, by named barriers. */
KERNEL(hand_over, N, test_args)
{
    u32 at = shared_base() + 4u * (u32)(thread_id() % WARP);
    if (thread_id() < WARP) {
        st_shared_f32(at, (float)thread_id());
        if (a.variant != 1) barrier_arrive(1, N);
    } else {
        if (a.variant != 1) barrier_sync(1, N);
        st_f32(a.out + thread_id() - WARP,
               ld_shared_f32(shared_base() + 4u * (u32)(63 - thread_id())));
    }
    if (a.variant == 2 && thread_id() < WARP)
        st_shared_f32(at, 0); /* the consumer may still read */
}

static float out_data[2 * N], in_data[16];

/* Runs a kernel under every order and some seeds; it must fail with `expected` in its message, or
 * (NULL) pass, each time. */
static void expect(const char *kernel, int variant, const char *expected)
{
    test_args args = {out_data, in_data, variant};
    for (unsigned i = 0; i < 9; i++) {
        emu_launch l = {
            kernel, 0, strstr(kernel, "block") ? 2 : 1, 1, 8192, &args, (emu_order)(i % 3), i / 3};
        if (!strcmp(kernel, "outside")) l.shared_bytes = 2048;
        emu_result r;
        emu_run(&l, &r);
        if (expected)
            CHECK_MSG(!r.ok && strstr(r.message, expected) && strstr(r.message, kernel),
                      "%s, variant %d, schedule %u: '%s', expected '%s'", kernel, variant, i,
                      r.ok ? "no complaint" : r.message, expected);
        else
            CHECK_MSG(r.ok, "%s, variant %d, schedule %u: %s", kernel, variant, i, r.message);
    }
}

static void test_mistakes_are_named(void)
{
    /* The reader may come before the writer: a race, or a place that nobody has written yet. */
    expect("shared_race", 0, "numbers");
    expect("shared_race", 2, "numbers");
    expect("shared_race", 1, NULL);
    expect("warp_race", 0, "shared memory");
    expect("warp_race", 2, "shared memory");
    expect("warp_race", 1, NULL);
    expect("reuse_race", 0, "race");
    expect("reuse_race", 1, NULL);
    expect("missing_wait", 0, "missing wait: load in tile");
    expect("missing_wait", 2, "missing wait: load in tile");
    expect("missing_wait", 3, "tile"); /* a wait is not a barrier */
    expect("missing_wait", 1, NULL);
    expect("never_waits", 0, "never waited for");
    expect("uninitialised", 0, "uninitialised: load in sums");
    expect("deadlock", 0, "deadlock");
    expect("deadlock", 2, "deadlock");
    expect("deadlock", 3, "waits at a named barrier");
    expect("split_warp", 0, "split warp");
    expect("block_race", 0, "out: race between blocks");
    expect("block_race", 1, "out: race between blocks");
    expect("block_race", 2, "out: race between blocks");
    expect("block_race", 3, NULL);
    expect("global_race", 0, "out: race");
    expect("global_race", 1, "out: race"); /* ordered after the first store, not after the second */
    expect("hand_over", 0, NULL);
    expect("hand_over", 1, "shared memory");
    expect("hand_over", 2, "race");
}

static void test_addresses(void)
{
    static const char *const messages[] = {
        "behind the end of out",
        "of in",
        "out of bounds",
        "out of bounds: store at",
        "misaligned",
        "misaligned",
        "read-only",
        "misaligned",
        "across the end of in",
        "in no buffer",
    };
    for (int i = 0; i < 10; i++) expect("outside", i, messages[i]);
}

/* ---- primitives ---- */

/* d = a b with a [16, 16] through ldmatrix4 and b [16, 8] (variant 0: stored by rows, read
 * transposed; 1: stored by columns, read plain). */
KERNEL(one_product, WARP, test_args)
{
    int lane = thread_id();
    u32 tile_a = shared_base(), tile_b = shared_base() + 16 * 32;
    for (int i = lane; i < 128; i += WARP) /* pairs of bfloat16 */
        st_shared_u32(tile_a + 4u * (u32)i,
                      pack_bf16(ld_f32(a.in + 2 * i), ld_f32(a.in + 2 * i + 1)));
    const float *b = a.in + 256;
    for (int i = lane; i < 64; i += WARP) {
        int r = a.variant ? 2 * i / 16 : 2 * i / 8, c = a.variant ? 2 * i % 16 : 2 * i % 8;
        float lo = a.variant ? ld_f32(b + c * 8 + r) : ld_f32(b + r * 8 + c);
        float hi = a.variant ? ld_f32(b + (c + 1) * 8 + r) : ld_f32(b + r * 8 + c + 1);
        st_shared_u32(tile_b + 4u * (u32)i, pack_bf16(lo, hi));
    }
    sync_warp();
    u32 fa[4], fb[4];
    float d[4] = {0, 0, 0, 0};
    ldmatrix4(fa, tile_a + 32u * (u32)(lane % 16) + 16u * (u32)(lane / 16));
    if (a.variant)
        ldmatrix4(fb, tile_b + 32u * (u32)(lane % 8) + 16u * (u32)(lane / 8 % 2));
    else
        ldmatrix4_transposed(fb, tile_b + 16u * (u32)(lane % 16));
    mma_16x8x16(d, fa, fb[0], fb[1]);
    for (int e = 0; e < 4; e++)
        st_f32(a.out + (lane / 4 + 8 * (e / 2)) * 8 + 2 * (lane % 4) + e % 2, d[e]);
}

static void test_matrix_product(void)
{
    static float in[256 + 128], out[128];
    for (int i = 0; i < 384; i++)
        in[i] = (float)((i * 37 + i / 7) % 23 - 11); /* exact in bfloat16 */
    emu_buffer_add(in, sizeof in, "matrices", false);
    emu_buffer_add(out, sizeof out, "product", true);
    for (int variant = 0; variant < 2; variant++) {
        test_args args = {out, in, variant};
        emu_launch l = {"one_product", 0, 1, 1, 1024, &args, EMU_LATEST, 3};
        emu_result r;
        memset(out, 0xFF, sizeof out);
        emu_run(&l, &r);
        CHECK_STR(r.message, "");
        CHECK_INT(r.tensor_products, 1);
        for (int i = 0; i < 16; i++)
            for (int j = 0; j < 8; j++) {
                float sum = 0;
                for (int k = 0; k < 16; k++) sum += in[i * 16 + k] * in[256 + k * 8 + j];
                CHECK_CLOSE(out[i * 8 + j], sum, 0);
            }
    }
    emu_buffer_remove(in), emu_buffer_remove(out);
}

KERNEL(exchanges, N, test_args)
{
    int t = thread_id(), lane = t % WARP;
    float sum = shuffle_xor((float)t, 3) + 100 * (float)shuffle_xor_int(t, 16);
    u32 votes = warp_ballot(lane % 3 == 0);
    st_f32(a.out + t, sum + 1e6f * (float)count_bits(votes & ((1u << lane) - 1)));
}

static void test_exchanges(void)
{
    test_args args = {out_data, in_data, 0};
    emu_launch l = {"exchanges", 0, 1, 1, 0, &args, EMU_EAGER, 1};
    emu_result r;
    emu_run(&l, &r);
    CHECK_STR(r.message, "");
    for (int t = 0; t < N; t++)
        CHECK_CLOSE(out_data[t], (t ^ 3) + 100 * (t ^ 16) + 1e6f * ((t % 32 + 2) / 3), 1);
}

/* Rows of 64 bytes without a swizzle: rows r and r + 2 meet in the same banks. */
KERNEL(conflicts, WARP, test_args)
{
    int stride = a.variant;
    u32 r[4];
    for (int i = thread_id(); i < 32 * stride / 4; i += WARP)
        st_shared_u32(shared_base() + 4u * (u32)i, 0);
    sync_warp();
    ldmatrix4(r, shared_base() + (u32)(thread_id() * stride));
}

static void test_bank_conflicts_are_counted(void)
{
    static const int strides[] = {16, 32, 64, 128, 80, 144}, expected[] = {0, 16, 24, 28, 0, 0};
    for (int i = 0; i < 6; i++) {
        test_args args = {out_data, in_data, strides[i]};
        emu_launch l = {"conflicts", 0, 1, 1, 8192, &args, EMU_EAGER, 0};
        emu_result r;
        emu_run(&l, &r);
        CHECK_STR(r.message, "");
        CHECK_INT(r.bank_conflicts, expected[i]);
    }
}

static void test_bf16_rounding(void)
{
    CHECK_INT(pack_bf16(1, -2), 0xC0003F80);
    CHECK_INT(f32_to_bf16(1 + 1 / 256.0f), 0x3F80); /* a tie goes to the even one */
    CHECK_INT(f32_to_bf16(1 + 3 / 256.0f), 0x3F82);
    CHECK_INT(f32_to_bf16(1 + 1.01f / 256.0f), 0x3F81);
    CHECK_INT(f32_to_bf16(NAN), 0x7FFF);
    CHECK_INT(f32_to_bf16(-INFINITY), 0xFF80);
    CHECK(exp2_fast(-INFINITY) == 0 && exp2_fast(-140) == 0 && exp2_fast(3) == 8);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv, "");
    emu_buffer_add(out_data, N * sizeof(float), "out", true);
    emu_buffer_add(in_data, sizeof in_data, "in", false);
    RUN(test_mistakes_are_named);
    RUN(test_addresses);
    RUN(test_matrix_product);
    RUN(test_exchanges);
    RUN(test_bank_conflicts_are_counted);
    RUN(test_bf16_rounding);
    return test_summary("cuda emulator");
}
