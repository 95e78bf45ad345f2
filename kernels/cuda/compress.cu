// compress.cu: the second moments of each item's data (docs/arithmetic.md, sections 2 to 4).
//
//     A_ij = Σ ω z_i z_j,  i ≤ j,  columns z_0 … z_{Z−1}: the features, the intercept's ones, y
//
// 1. Unit = (item, chunk of 4,096 samples). Lane l of a unit takes its samples l, l + 32, …, so a
//    warp reads neighbouring rows.
// 2. float32 data: float64 sums of exact products. float64 data: compensated dot products of
//    columns scaled by powers of two; the chunk is read once for its exponents and again for the
//    sums: the second time from cache where it is short.
// 3. `compress` has the features at compile time and all E sums in registers; `compress_any` takes
//    any number, a block of 16 × 16 pairs at a time. `join` adds the chunks of an item pairwise,
//    neighbour with neighbour, in place.
#include "arithmetic.cuh"
#include "work.cuh"

// ---- the weights

// weigh: W, W′, W_T, ω_min and k_ω of every item. One warp owns one item.
// grid = ceil(n_chosen / 4), block = 128; shared: a stack of sums per warp, as many as there are
// powers of two of chunks
template <typename T>
__global__ void __launch_bounds__(128) weigh(const __grid_constant__ Work work) {
    typedef double Stack[4][52][3];  // hi and lo of Σ ω̂; Σ ω in T
    SHARED_MEMORY(Stack, stack);
    const int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    const long long place = blockIdx.x * 4LL + warp;
    if (place >= work.n_chosen) return;  // the whole warp
    const long long item = listed(work.chosen, place), used = used_of(work, item);
    if (!work.weights) {
        if (lane == 0) {
            work.weight_sum[2 * item] = double(used), work.weight_sum[2 * item + 1] = 0.0;
            work.weight_total[item] = double(T(used));
            work.weight_least[item] = 1.0;
            work.weight_exponent[item] = 0;
        }
        return;
    }
    const T* weights = weights_of<T>(work, item);
    const int* kept = kept_row_of(work, item);
    double least = infinity(), most = 0.0;
    for (long long i = lane; i < used; i += LANES) {
        const double weight = weights[place_of(kept, i)];
        least = weight < least ? weight : least, most = larger(most, weight);
    }
    for (int distance = LANES / 2; distance > 0; distance >>= 1) {
        const double other = from_partner(least, distance);
        least = other < least ? other : least, most = larger(most, from_partner(most, distance));
    }
    const bool doubled = Format<T>::PLANES == 2;
    const long long exponent = doubled ? exponent_of(most) : 0;
    const double factor = pow2(-exponent);
    int level = 0;  // sums on the stack
    if (lane == 0) stack[warp][0][0] = stack[warp][0][1] = stack[warp][0][2] = 0.0;  // where no sample is kept
    for (long long first = 0; first < used; first += CHUNK) {
        const long long stop = first + CHUNK < used ? first + CHUNK : used;
        Pair sum = {0.0, 0.0};
        T total = T(0);
        for (long long i = first + lane; i < stop; i += LANES) {
            const T weight = weights[place_of(kept, i)];
            total = total + weight;
            if (doubled) {
                const Pair next = two_sum(sum.hi, double(weight) * factor);
                sum = {next.hi, sum.lo + next.lo};
            } else {
                sum.hi = sum.hi + double(weight);
            }
        }
        if (doubled) {
            sum = sum_of_lanes(two_sum(sum.hi, sum.lo), ALL_LANES, LANES);
        } else {
            sum.hi = sum_of_lanes(sum.hi, ALL_LANES, LANES);
        }
        total = sum_of_lanes(total, ALL_LANES, LANES);
        if (lane == 0) {
            stack[warp][level][0] = sum.hi, stack[warp][level][1] = sum.lo, stack[warp][level][2] = double(total);
            ++level;
            const bool is_last = stop == used;  // then levels without a neighbour of their size are added too
            for (long long equal = first / CHUNK + 1; level > 1 && (is_last || equal % 2 == 0); equal /= 2, --level) {
                double* left = stack[warp][level - 2];
                const double* right = stack[warp][level - 1];
                const Pair both = doubled ? dd_add({left[0], left[1]}, {right[0], right[1]}) : Pair{left[0] + right[0], 0.0};
                left[0] = both.hi, left[1] = both.lo, left[2] = double(T(left[2]) + T(right[2]));
            }
        }
    }
    if (lane == 0) {
        work.weight_sum[2 * item] = stack[warp][0][0], work.weight_sum[2 * item + 1] = stack[warp][0][1];
        work.weight_total[item] = stack[warp][0][2];
        work.weight_least[item] = least;
        work.weight_exponent[item] = exponent;
    }
}

// ---- a few features, known at compile time

// one row of X; 16 bytes at a time where rows are multiples of that (data.py aligns X)
template <typename T, int COUNT>
__device__ __forceinline__ void load_row(const T* row, T* z) {
    if constexpr (COUNT % 4 == 0 && sizeof(T) == 4) {
#pragma unroll
        for (int q = 0; q < COUNT / 4; ++q) {
            const float4 v = reinterpret_cast<const float4*>(row)[q];
            z[4 * q] = v.x, z[4 * q + 1] = v.y, z[4 * q + 2] = v.z, z[4 * q + 3] = v.w;
        }
    } else if constexpr (COUNT % 2 == 0 && sizeof(T) == 8) {
#pragma unroll
        for (int q = 0; q < COUNT / 2; ++q) {
            const double2 v = reinterpret_cast<const double2*>(row)[q];
            z[2 * q] = v.x, z[2 * q + 1] = v.y;
        }
    } else {
#pragma unroll
        for (int j = 0; j < COUNT; ++j) z[j] = row[j];
    }
}

// the sums of a lane: acc ← fma(ω z_i, z_j, acc)
template <int Z, bool WEIGHTED>
__device__ __forceinline__ void accumulate(const double* z, double weight, double* total) {
#pragma unroll
    for (int j = 0; j < Z; ++j) {
#pragma unroll
        for (int i = 0; i <= j; ++i) {
            double& sum = total[j * (j + 1) / 2 + i];
            sum = fused(WEIGHTED ? weight * z[i] : z[i], z[j], sum);
        }
    }
}

// one product of a compensated dot product: f + f′ = ω̂ a
template <bool WEIGHTED>
__device__ __forceinline__ void add_compensated(double a, double b, double weight, Pair& sum) {
    const double f = WEIGHTED ? weight * a : a, p = f * b;
    double e = fused(f, b, -p);
    if (WEIGHTED) e = fused(fused(weight, a, -f), b, e);
    const Pair next = two_sum(sum.hi, p);
    sum = {next.hi, sum.lo + (next.lo + e)};
}

template <int Z, bool WEIGHTED>
__device__ __forceinline__ void accumulate(const double* z, double weight, Pair* total) {
#pragma unroll
    for (int j = 0; j < Z; ++j) {
#pragma unroll
        for (int i = 0; i <= j; ++i) add_compensated<WEIGHTED>(z[i], z[j], weight, total[j * (j + 1) / 2 + i]);
    }
}

__device__ __forceinline__ double as_sum(double lane) { return lane; }
__device__ __forceinline__ Pair as_sum(Pair lane) { return two_sum(lane.hi, lane.lo); }
__device__ __forceinline__ void write_sum(double* record, int, int entry, double sum) { record[entry] = sum; }
__device__ __forceinline__ void write_sum(double* record, int entries, int entry, Pair sum) {
    record[entry] = sum.hi, record[entries + entry] = sum.lo;
}

// the columns of one row, [x, 1, y]; those of float64 data are scaled
template <typename T, int FEATURES, bool INTERCEPT>
__device__ __forceinline__ void columns_of(const T* x, T target, const double* factor, double* z) {
    constexpr int Z = FEATURES + INTERCEPT + 1;
#pragma unroll
    for (int j = 0; j < FEATURES; ++j) z[j] = double(x[j]);
    if (INTERCEPT) z[FEATURES] = 1.0;
    z[Z - 1] = double(target);
    if constexpr (Format<T>::PLANES == 2) {
#pragma unroll
        for (int j = 0; j < Z; ++j) z[j] = z[j] * factor[j];
    }
}

// the sums of a lane over every 32nd of `left` rows; some are asked for together, so that a lane
// waits once for all of them
template <typename T, int FEATURES, bool INTERCEPT, typename V>
__device__ __forceinline__ void add_rows(const T* x, const T* y, int left, const double* factor, V* total) {
    constexpr int Z = FEATURES + INTERCEPT + 1, AT_ONCE = FEATURES <= 2 ? 16 / int(sizeof(T)) : sizeof(T) == 4 ? 2 : 1;
    for (; left > 0; left -= AT_ONCE * LANES, x += AT_ONCE * LANES * FEATURES, y += AT_ONCE * LANES) {
        T row[AT_ONCE][FEATURES], target[AT_ONCE];
#pragma unroll
        for (int u = 0; u < AT_ONCE; ++u) {
            if (left <= u * LANES) continue;
            load_row<T, FEATURES>(x + u * LANES * FEATURES, row[u]);
            target[u] = y[u * LANES];
        }
#pragma unroll
        for (int u = 0; u < AT_ONCE; ++u) {
            if (left <= u * LANES) continue;
            double z[Z];
            columns_of<T, FEATURES, INTERCEPT>(row[u], target[u], factor, z);
            accumulate<Z, false>(z, 1.0, total);
        }
    }
}

// the sums of a whole warp
template <typename T, int E, typename V>
__device__ __forceinline__ void write_sums(V (&total)[E], double* record, int lane) {
#pragma unroll
    for (int e = 0; e < E; ++e) total[e] = as_sum(total[e]);
    Fold<E>::run(total, lane);
#pragma unroll
    for (int slot = 0; slot < Fold<E>::SLOTS; ++slot) {
        const int entry = Fold<E>::place(slot, lane);
        if (entry >= 0) write_sum(record, E, entry, total[slot]);
    }
}

// compress: one group of lanes owns one unit. group = 2^shift = 32, or the power of two that holds
// all samples of the longest item.
// grid = ceil(n_chosen · n_chunks · group / 128), block = 128. With `straight` no index is read:
// float32 data, one chunk, no lists, no weights, all samples; then a warp takes every (4 · grid)th
// item, with as many blocks as there are
template <typename T, int FEATURES, bool INTERCEPT>
__global__ void __launch_bounds__(128) compress(const __grid_constant__ Work work, int shift, long long straight) {
    constexpr int D = FEATURES + INTERCEPT, Z = D + 1, E = Z * (Z + 1) / 2;
    if constexpr (Format<T>::PLANES == 1) {
        if (straight > 0) {  // how many warps there are
            const int lane = threadIdx.x % LANES;
            const double one[Z] = {};  // not read
            for (long long item = (blockIdx.x * 128LL + threadIdx.x) / LANES; item < work.n_items; item += straight) {
                double total[E];
#pragma unroll
                for (int e = 0; e < E; ++e) total[e] = 0.0;
                const long long row = item * work.n_samples + lane;
                add_rows<T, FEATURES, INTERCEPT>(static_cast<const T*>(work.X) + row * FEATURES, static_cast<const T*>(work.y) + row,
                                                 int(work.n_samples) - lane, one, total);
                write_sums<T, E>(total, work.moments + item * E, lane);
            }
            return;
        }
    }
    const int group = 1 << shift, lane = threadIdx.x & (group - 1);
    const unsigned mask = mask_of_group(group);
    const long long number = (blockIdx.x * 128LL + threadIdx.x) >> shift;
    long long place_of_item = number, chunk = 0;
    if (work.n_chunks > 1) place_of_item = number / work.n_chunks, chunk = number % work.n_chunks;  // divisions cost as much as a short fit
    if (place_of_item >= work.n_chosen) return;  // the whole group
    const long long item = listed(work.chosen, place_of_item), unit = item * work.n_chunks + chunk;
    const long long first = chunk * CHUNK, used = used_of(work, item);
    if (first > 0 && first >= used) return;  // the whole group; an item may have no sample at all
    const int count = used - first < CHUNK ? int(used - first) : int(CHUNK);
    const T *X = X_of<T>(work, item), *y = y_of<T>(work, item), *weights = weights_of<T>(work, item);
    const int* kept = kept_row_of(work, item);
    double factor[Z];
    if constexpr (Format<T>::PLANES == 2) {
#pragma unroll
        for (int j = 0; j < Z; ++j) factor[j] = 0.0;
        for (int i = lane; i < count; i += group) {
            const long long place = place_of(kept, first + i);
            T x[FEATURES];
            load_row<T, FEATURES>(X + place * FEATURES, x);
#pragma unroll
            for (int j = 0; j < FEATURES; ++j) factor[j] = larger(factor[j], size_of(double(x[j])));
            if (INTERCEPT) factor[FEATURES] = 1.0;
            factor[D] = larger(factor[D], size_of(double(y[place])));
        }
#pragma unroll
        for (int j = 0; j < Z; ++j) {
            for (int distance = group / 2; distance > 0; distance >>= 1) {
                factor[j] = larger(factor[j], __shfl_xor_sync(mask, factor[j], distance, group));
            }
            const long long exponent = exponent_of(factor[j]);
            if (lane == 0) work.exponents[unit * Z + j] = exponent;
            factor[j] = pow2(-exponent);
        }
    }
    const double weight_factor = weights ? pow2(-work.weight_exponent[item]) : 1.0;
    typename Format<T>::Sum total[E];
#pragma unroll
    for (int e = 0; e < E; ++e) total[e] = {};
    if (shift == 5 && !kept && !weights) {  // neighbouring rows, in whole warps: no index is read
        add_rows<T, FEATURES, INTERCEPT>(X + (first + lane) * FEATURES, y + first + lane, count - lane, factor, total);
    } else {
        for (int i = lane; i < count; i += group) {
            const long long place = place_of(kept, first + i);
            T x[FEATURES];
            load_row<T, FEATURES>(X + place * FEATURES, x);
            double z[Z];
            columns_of<T, FEATURES, INTERCEPT>(x, y[place], factor, z);
            if (weights) {
                accumulate<Z, true>(z, double(weights[place]) * weight_factor, total);
            } else {
                accumulate<Z, false>(z, 1.0, total);
            }
        }
    }
    double* record = work.moments + unit * (Format<T>::PLANES * E);
    if (group == LANES) {
        write_sums<T, E>(total, record, lane);
        return;
    }
#pragma unroll
    for (int e = 0; e < E; ++e) {
        total[e] = sum_of_lanes(as_sum(total[e]), mask, group);
        if (lane == 0) write_sum(record, E, e, total[e]);
    }
}

// ---- any number of features

// element (sample, column) of [X, 1, y]
template <typename T>
__device__ __forceinline__ double element(const Work& work, const T* X, const T* y, long long place, long long column) {
    if (column < work.n_features) return double(X[place * work.n_features + column]);
    return column == work.n_features && work.intercept ? 1.0 : double(y[place]);
}

// find_exponents: k_j of every chunk of float64 data. A thread owns a column of a unit; grid =
// (n_chosen · n_chunks, ceil(Z / 128)), block = 128
template <typename T>
__global__ void __launch_bounds__(128) find_exponents(const __grid_constant__ Work work) {
    const long long item = listed(work.chosen, blockIdx.x / work.n_chunks), chunk = blockIdx.x % work.n_chunks;
    const long long unit = item * work.n_chunks + chunk, first = chunk * CHUNK, used = used_of(work, item);
    const long long n_columns = work.n_parameters + 1, column = blockIdx.y * 128LL + threadIdx.x;
    if (column >= n_columns || (first > 0 && first >= used)) return;
    const long long stop = first + CHUNK < used ? first + CHUNK : used;
    const T *X = X_of<T>(work, item), *y = y_of<T>(work, item);
    const int* kept = kept_row_of(work, item);
    double most = 0.0;
    for (long long i = first; i < stop; ++i) most = larger(most, size_of(element(work, X, y, place_of(kept, i), column)));
    work.exponents[unit * n_columns + column] = exponent_of(most);
}

// compress_any: a block owns 16 × 16 pairs of columns of a unit; warp v has rows 2v and 2v + 1 of
// them, each lane all 32 sums of its samples.
// grid = (n_chosen · n_chunks, tiles (tiles + 1) / 2), tiles = ceil(Z / 16); block = 256.
// shared: 32 samples of the 2 · 16 columns, and their weights; a row is padded by one number so
// that lanes fall into different banks
template <typename T>
__global__ void __launch_bounds__(256) compress_any(const __grid_constant__ Work work) {
    constexpr int TILE = 16;
    typedef double Tile[2 * TILE][LANES + 1];
    typedef double Weights[LANES];
    SHARED_MEMORY(Tile, tile);
    SHARED_MEMORY(Weights, weight);
    const long long item = listed(work.chosen, blockIdx.x / work.n_chunks), chunk = blockIdx.x % work.n_chunks;
    const long long unit = item * work.n_chunks + chunk, first = chunk * CHUNK, used = used_of(work, item);
    if (first > 0 && first >= used) return;  // the whole block
    const long long stop = first + CHUNK < used ? first + CHUNK : used;
    const long long n_columns = work.n_parameters + 1, n_entries = n_columns * (n_columns + 1) / 2;
    int right = 0;  // tile number blockIdx.y of the upper triangle: columns of tile `left` with those of tile `right` ≥ left
    while ((right + 1) * (right + 2) / 2 <= int(blockIdx.y)) ++right;
    const int left = int(blockIdx.y) - right * (right + 1) / 2;
    const int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
    const T *X = X_of<T>(work, item), *y = y_of<T>(work, item), *weights = weights_of<T>(work, item);
    const int* kept = kept_row_of(work, item);
    const double weight_factor = pow2(-work.weight_exponent[item]);
    typename Format<T>::Sum total[2 * TILE];  // [row][column]
#pragma unroll
    for (int e = 0; e < 2 * TILE; ++e) total[e] = {};
    for (long long begin = first; begin < stop; begin += LANES) {
        const int rows = stop - begin < LANES ? int(stop - begin) : LANES;
        __syncthreads();  // the tile of the samples before has been read
        for (int k = threadIdx.x; k < 2 * TILE * LANES; k += 256) {
            const int sample = k / (2 * TILE), slot = k % (2 * TILE);
            const long long column = (slot < TILE ? left * TILE + slot : right * TILE + slot - TILE);
            if (sample >= rows) continue;
            double value = 0.0;  // past the last column
            if (column < n_columns) value = element(work, X, y, place_of(kept, begin + sample), column);
            if (column < n_columns && Format<T>::PLANES == 2) value = value * pow2(-work.exponents[unit * n_columns + column]);
            tile[slot][sample] = value;
        }
        if (weights && int(threadIdx.x) < rows) weight[threadIdx.x] = double(weights[place_of(kept, begin + threadIdx.x)]) * weight_factor;
        __syncthreads();
        if (lane >= rows) continue;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const double a = tile[2 * warp + r][lane];
#pragma unroll
            for (int c = 0; c < TILE; ++c) {
                const double b = tile[TILE + c][lane];
                if constexpr (Format<T>::PLANES == 2) {
                    if (weights) {
                        add_compensated<true>(a, b, weight[lane], total[r * TILE + c]);
                    } else {
                        add_compensated<false>(a, b, 1.0, total[r * TILE + c]);
                    }
                } else {
                    total[r * TILE + c] = fused(weights ? weight[lane] * a : a, b, total[r * TILE + c]);
                }
            }
        }
    }
#pragma unroll
    for (int e = 0; e < 2 * TILE; ++e) total[e] = as_sum(total[e]);
    Fold<2 * TILE>::run(total, lane);  // now lane e has sum e
    const int entry = Fold<2 * TILE>::place(0, lane);
    const long long i = left * TILE + 2 * warp + entry / TILE, j = right * TILE + entry % TILE;
    if (i > j || j >= n_columns) return;
    double* record = work.moments + unit * (Format<T>::PLANES * n_entries) + j * (j + 1) / 2 + i;
    if constexpr (Format<T>::PLANES == 2) {
        record[0] = total[0].hi, record[n_entries] = total[0].lo;
    } else {
        record[0] = total[0];
    }
}

// join: chunk 0 of an item becomes the sum of its chunks. One block owns one item; grid = n_chosen,
// block = 256
template <typename T>
__global__ void __launch_bounds__(256) join(const __grid_constant__ Work work) {
    const long long item = listed(work.chosen, blockIdx.x), count = (used_of(work, item) + CHUNK - 1) / CHUNK;
    const long long n_columns = work.n_parameters + 1, n_entries = n_columns * (n_columns + 1) / 2;
    const long long stride = Format<T>::PLANES * n_entries;
    double* records = work.moments + item * work.n_chunks * stride;
    long long* exponents = work.exponents + item * work.n_chunks * n_columns;
    for (long long step = 1; step < count; step *= 2) {
        const long long pairs = (count - step + 2 * step - 1) / (2 * step);
        for (long long k = threadIdx.x; k < pairs * n_columns; k += 256) {  // a thread takes a column of the triangle
            const long long left = k / n_columns * 2 * step, right = left + step, j = k % n_columns;
            for (long long i = 0; i <= j; ++i) {
                double* a = records + left * stride + j * (j + 1) / 2 + i;
                const double* b = records + right * stride + j * (j + 1) / 2 + i;
                if constexpr (Format<T>::PLANES == 2) {
                    const long long *p = exponents + left * n_columns, *q = exponents + right * n_columns;
                    const long long common_i = p[i] > q[i] ? p[i] : q[i], common_j = p[j] > q[j] ? p[j] : q[j];
                    const double p_i = pow2(p[i] - common_i), p_j = pow2(p[j] - common_j);
                    const double q_i = pow2(q[i] - common_i), q_j = pow2(q[j] - common_j);
                    const Pair sum =
                        dd_add({(a[0] * p_i) * p_j, (a[n_entries] * p_i) * p_j}, {(b[0] * q_i) * q_j, (b[n_entries] * q_i) * q_j});
                    a[0] = sum.hi, a[n_entries] = sum.lo;
                } else {
                    a[0] = a[0] + b[0];
                }
            }
        }
        __syncthreads();  // the exponents have been read
        for (long long k = threadIdx.x; Format<T>::PLANES == 2 && k < pairs * n_columns; k += 256) {
            long long* left = exponents + k / n_columns * 2 * step * n_columns + k % n_columns;
            const long long right = left[step * n_columns];
            if (right > left[0]) left[0] = right;
        }
        __syncthreads();
    }
}
