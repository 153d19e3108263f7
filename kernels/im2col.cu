// im2col.cu: copies the pixels under every window to columns, and back.   x (NC,H,W)   cols (NC,KH,KW,OH,OW)
//
// im2col: one thread for each element of cols.   threads  0 1 2 3 …  →  windows j = 0 1 2 3 … of one tap (p, q)
//     Neighbouring threads write neighbouring places, and at stride 1 read neighbouring pixels: a warp's 32 accesses
//     are 4 sectors of 32 bytes each way.
// col2im: one thread for each pixel. It adds the entries that the pixel was copied to: no two threads write to one
//     address, so there are no atomics, and the order of the sum is always the same.
#include "prelude.cuh"

// instances: im2col<float> im2col<double>
template <typename T>
__global__ void im2col(const T *x, T *cols, int NC, int H, int W, int KH, int KW, int SV, int SH, int PV, int PH,
                       int DV, int DH, int OH, int OW) {
    GRID_STRIDE(e, NC * KH * KW * OH * OW) {
        int j = e % OW, i = e / OW % OH, tap = e / (OW * OH);
        int q = tap % KW, p = tap / KW % KH, nc = tap / (KW * KH);
        int h = i * SV + p * DV - PV, w = j * SH + q * DH - PH;
        bool inside = h >= 0 && h < H && w >= 0 && w < W;
        cols[e] = inside ? x[(nc * H + h) * W + w] : T(0);
    }
}

// instances: col2im<float> col2im<double>
template <typename T>
__global__ void col2im(const T *cols, T *dx, int NC, int H, int W, int KH, int KW, int SV, int SH, int PV, int PH,
                       int DV, int DH, int OH, int OW) {
    GRID_STRIDE(e, NC * H * W) {
        int w = e % W, h = e / W % H, nc = e / (W * H);
        T sum = T(0);
        for (int p = 0; p < KH; p++) {
            int i = h + PV - p * DV;  // i·S: the window whose tap p reads row h
            if (i < 0 || i % SV || i / SV >= OH) continue;
            for (int q = 0; q < KW; q++) {
                int j = w + PH - q * DH;
                if (j < 0 || j % SH || j / SH >= OW) continue;
                sum += cols[(((nc * KH + p) * KW + q) * OH + i / SV) * OW + j / SH];
            }
        }
        dx[e] = sum;
    }
}
