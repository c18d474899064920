// The kernels of fused.h for AVX2.
#include "fused_loops.h"

const coppice::FusedKernels& coppice::fused_avx2() { return kKernels; }
