#!/bin/sh
# For a GPU machine without compiler or development packages: builds everything that all.sh runs into FOLDER, with the
# libraries it is linked with and, where they are at hand (QK_SHARED), the goldens. There, in a checkout:
#   GPU_BUNDLE=FOLDER tests/gpu/all.sh RESULTS
# usage: bundle.sh FOLDER      the other machine needs the same processor family, and a C library as new as this one's
[ -n "$1" ] || { echo "usage: bundle.sh FOLDER" >&2; exit 2; }
mkdir -p "$1" && to=$(realpath "$1") || exit 1
cd "$(dirname "$0")/../.." || exit 1
make -s -j"$(nproc)" CUDA=1 gpu-programs build/cuda/qkengine || exit 1
rm -rf "$to/bin" "$to/lib" && mkdir -p "$to/bin/tests" "$to/lib" || exit 1
mkdir "$to/bin/tests/gpu" && cp build/cuda/qkengine "$to/bin/" || exit 1
for program in primitives products bench lab; do cp build/cuda/tests/gpu/$program "$to/bin/tests/gpu/" || exit 1; done
for program in rows attention forward; do cp build/cuda/tests/test_cuda_$program "$to/bin/tests/" || exit 1; done
find "$to/bin" -type f -exec strip --strip-debug {} +
# The C library and the loader belong to each other and stay the other machine's.
ldd "$to/bin/qkengine" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' |
    grep -vE '/(libc|libm|libpthread|libdl|librt|libresolv|libstdc\+\+|libgcc_s)\.so' | while read -r library; do
    cp -L "$library" "$to/lib/" || exit 1
done || exit 1
golden=${QK_SHARED:-$(cd .. && pwd)/shared}/golden
if [ -d "$golden/capture" ]; then
    rm -rf "$to/golden" && mkdir "$to/golden" && cp -r "$golden/capture" "$golden/forward" "$to/golden/" || exit 1
fi
du -sh "$to" | sed 's/\t/ in /'
