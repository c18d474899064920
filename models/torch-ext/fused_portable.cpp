// The kernels of fused.h for any processor.
#include "fused_loops.h"

const coppice::FusedKernels& coppice::fused_portable() { return kKernels; }
