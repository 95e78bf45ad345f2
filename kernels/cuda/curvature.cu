// curvature.cu: λ_max of the Gram matrix (docs/arithmetic.md, section 5): cyclic Jacobi in float64,
// a fixed order of rotations.
#include "arithmetic.cuh"
#include "work.cuh"

constexpr long long MOST_FEATURES = 64;  // of the Jacobi method; above, the largest row sum bounds λ_max
constexpr int MOST_SWEEPS = 30;

// annihilates entry (p, q) of the symmetric matrix B (D, D); the group's lanes share the other rows
__device__ __forceinline__ void rotate(double* B, long long D, long long p, long long q, int lane, int group, unsigned mask) {
    const double pp = B[p * D + p], qq = B[q * D + q], pq = B[p * D + q];
    const double theta = (qq - pp) / (2.0 * pq);
    double t = 1.0 / (size_of(theta) + root(theta * theta + 1.0));
    if (theta < 0.0) t = -t;
    const double c = 1.0 / root(t * t + 1.0), s = t * c, h = t * pq;
    __syncwarp(mask);  // all have read the entries
    if (lane == 0) B[p * D + p] = pp - h, B[q * D + q] = qq + h, B[p * D + q] = 0.0, B[q * D + p] = 0.0;
    for (long long r = lane; r < D; r += group) {
        if (r == p || r == q) continue;
        const double a = B[r * D + p], b = B[r * D + q];
        B[r * D + p] = B[p * D + r] = c * a - s * b;
        B[r * D + q] = B[q * D + r] = s * a + c * b;
    }
    __syncwarp(mask);
}

// largest_eigenvalues: a group of lanes owns one item; grid = ceil(n_items · group / 128), block =
// 128, group a power of two up to 32
template <typename T>
__global__ void __launch_bounds__(128) largest_eigenvalues(const __grid_constant__ Work work, int group) {
    const unsigned mask = mask_of_group(group);
    const int lane = threadIdx.x & (group - 1);
    const long long item = (blockIdx.x * 128LL + threadIdx.x) / group;
    if (item >= work.n_items) return;  // the whole group
    const long long D = work.n_parameters, Z = D + 1, E = Z * (Z + 1) / 2;
    const double* record = work.moments + item * work.n_chunks * (Format<T>::PLANES * E);
    const long long* exponents = work.exponents + item * work.n_chunks * Z;
    double* B = work.matrix + item * D * D;
    long long common = exponent_at<T>(exponents, 0);
    for (long long j = 1; j < D; ++j) common = exponent_at<T>(exponents, j) > common ? exponent_at<T>(exponents, j) : common;
    for (long long j = lane; j < D; j += group) {
        for (long long i = 0; i <= j; ++i) {
            const double entry =
                (record[j * (j + 1) / 2 + i] * pow2(exponent_at<T>(exponents, i) - common)) * pow2(exponent_at<T>(exponents, j) - common);
            B[i * D + j] = B[j * D + i] = entry;
        }
    }
    __syncwarp(mask);
    bool all_finite = true;
    double most = B[0];
    for (long long j = 0; j < D; ++j) {
        all_finite = all_finite && is_finite(B[j * D + j]);
        most = larger(most, B[j * D + j]);
    }
    double result = 0.0;
    if (D > MOST_FEATURES) {
        for (long long j = lane; j < D; j += group) {
            double row = 0.0;
            for (long long k = 0; k < D; ++k) row = row + size_of(B[j * D + k]);
            result = larger(result, row);
        }
        for (int distance = group / 2; distance > 0; distance >>= 1) {
            result = larger(result, __shfl_xor_sync(mask, result, distance, group));
        }
    } else if (all_finite) {
        const double limit = 0x1p-56 * most;
        bool rotated = true;
        for (int sweep = 0; sweep < MOST_SWEEPS && rotated; ++sweep) {
            rotated = false;
            for (long long p = 0; p < D - 1; ++p) {
                for (long long q = p + 1; q < D; ++q) {
                    if (!(size_of(B[p * D + q]) > limit)) continue;  // all lanes alike
                    rotate(B, D, p, q, lane, group, mask);
                    rotated = true;
                }
            }
        }
        for (long long j = 0; j < D; ++j) result = larger(result, B[j * D + j]);
    }
    if (lane == 0) work.eigenvalues[item] = all_finite ? (result * pow2(common)) * pow2(common) : not_a_number();
}
