/* Compiles every specialisation of every kernel ahead of time: `make cubins`. Needs NVRTC, no GPU.
 *
 *   make_cubins FOLDER sm_90a ...    writes FOLDER/KEY.cubin (kernels/cuda/compile.h)
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/progress.h"
#include "kernels/cuda/compile.h"

static qk_status make_one(const char *folder, const cuda_build *build, const char *arch,
                          qk_error *err)
{
    char *name = cuda_cubin_name(build, arch), *path = qk_path_join(folder, name);
    qk_buf cubin = {0};
    bool there;
    qk_status s = qk_has_file(path, &there, err);
    if (s == QK_OK && !there) s = cuda_compile(build, arch, "", &cubin, NULL, err);
    if (s == QK_OK && cubin.size) s = qk_write_file(path, cubin.data, cubin.size, err);
    qk_buf_free(&cubin);
    free(path);
    free(name);
    return s;
}

static qk_status make_all(int n_archs, char **archs, const char *folder, qk_error *err)
{
    size_t n;
    const cuda_build *builds = cuda_builds(&n);
    QK_TRY(qk_make_dirs(folder, err));
    for (int a = 0; a < n_archs; a++) {
        for (size_t i = 0; i < n; i++) {
            qk_progress_of(archs[a], (double)i, (double)n, "kernel");
            QK_TRY(make_one(folder, &builds[i], archs[a], err));
        }
        qk_info("%s: %zu kernels", archs[a], n);
    }
    return QK_OK;
}

int main(int argc, char **argv)
{
    qk_error err = {0};
    if (argc < 3) {
        fprintf(stderr, "usage: make_cubins FOLDER sm_90a ...\n");
        return 2;
    }
    qk_status s = make_all(argc - 2, argv + 2, argv[1], &err);
    if (s != QK_OK) qk_print_error(&err);
    return qk_exit_status(s);
}
