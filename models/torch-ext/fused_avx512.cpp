// The kernels of fused.h for AVX-512.
#include "fused_loops.h"

const coppice::FusedKernels& coppice::fused_avx512() { return kKernels; }
