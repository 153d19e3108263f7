// tensor_core.cu: conv_gemm.cuh on tensor cores. TERMS = 3: float accuracy (3xTF32); TERMS = 1: TF32, three digits.
#include "conv_gemm.cuh"
#include "mma.cuh"

// instances: conv_gather<float,TensorTile<3,64,128>> conv_gather<float,TensorTile<3,64,64>>
// instances: conv_gather<float,TensorTile<1,128,128>> conv_gather<float,TensorTile<1,64,128>>
// instances: conv_gather<float,TensorTile<1,64,64>> conv_dw<float,TensorTile<3,64,128>> conv_dw<float,TensorTile<3,64,64>>
// instances: conv_dw<float,TensorTile<1,128,128>> conv_dw<float,TensorTile<1,64,128>> conv_dw<float,TensorTile<1,64,64>>
