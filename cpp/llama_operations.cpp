// ggml asks each of its "extra buffer types" (ggml-cpu/traits.h) whether it takes a weight into a buffer of its own,
// and at each operation whether it computes it. The list of these types is open: here one is added.
#include "llama_operations.h"

#include <ggml-cpu.h>
#include <ggml-cpu/ggml-cpu-impl.h>
#include <ggml-cpu/ops.h>
#include <ggml-cpu/traits.h>

#include <algorithm>
#include <cstring>

#include "llama_attention.h"
#include "llama_halves.h"
#include "llama_products.h"

namespace {

namespace attention = dicast::attention;
namespace halves = dicast::halves;
namespace products = dicast::products;

// The memory of a cache line, to which ggml aligns the buffer and each weight in it.
constexpr size_t ALIGNMENT = 64;
// Parts of a product for each thread. It takes one after the other: if it is late, then others do its part.
constexpr int64_t CHUNKS = 4;
// Bytes of columns that stay in the cache while rows pass by.
constexpr size_t PANEL = size_t{128} << 10;

ggml_backend_buffer_type_t packed();

// The format of weights that can be packed; otherwise null.
const products::Format *format_of(const ggml_tensor *weights) {
    // A part of packed weights is not where it would be in the file.
    const bool fits = ggml_n_dims(weights) == 2 && ggml_is_contiguous(weights) && weights->ne[0] > 0 &&
                      weights->ne[1] % products::ROWS == 0 && weights->view_src == nullptr;
    return fits ? products::find(weights->type) : nullptr;
}

// A column among those of all matrices.
char *start(const ggml_tensor *tensor, int64_t column) {
    const int64_t in_matrix = column % tensor->ne[1];
    const int64_t matrix = column / tensor->ne[1];
    return static_cast<char *>(tensor->data) + in_matrix * tensor->nb[1] + matrix % tensor->ne[2] * tensor->nb[2] +
           matrix / tensor->ne[2] * tensor->nb[3];
}

// The columns of a product are computed in panels that stay in the cache while rows pass by.
int64_t panel_of(size_t column) { return std::max<int64_t>(8, static_cast<int64_t>(PANEL / column) / 8 * 8); }

class Product final : public ggml::cpu::tensor_traits {
public:
    bool work_size(int /*threads*/, const ggml_tensor *op, size_t &size) override {
        const ggml_tensor *columns = op->src[1];
        size = products::column_size(columns->ne[0]) * static_cast<size_t>(ggml_nrows(columns));
        return true;
    }

    bool compute_forward(ggml_compute_params *params, ggml_tensor *op) override {
        const ggml_tensor *weights = op->src[0];
        const ggml_tensor *from = op->src[1];
        const products::Format &format = *format_of(weights);
        auto *columns = static_cast<uint8_t *>(params->wdata);
        const int64_t width = from->ne[0];
        const int64_t count = ggml_nrows(from);
        const size_t column = products::column_size(width);

        const int64_t blocks = width / products::BLOCK;
        const int64_t all = count * blocks;
        const int64_t end = all * (params->ith + 1) / params->nth;
        for (int64_t at = all * params->ith / params->nth; at < end;) {
            const int64_t one = at / blocks;
            const int64_t first = at % blocks;
            const int64_t last = std::min(blocks, first + end - at);
            products::quantize(format.correction, reinterpret_cast<const float *>(start(from, one)),
                               columns + one * column, width, first, last);
            at += last - first;
        }

        const int64_t groups = weights->ne[1] / products::ROWS;
        const int64_t chunks = params->nth == 1 ? 1 : std::min(groups, params->nth * CHUNKS);
        if (params->ith == 0) {
            ggml_threadpool_chunk_set(params->threadpool, params->nth);
        }
        ggml_barrier(params->threadpool);
        const int64_t panel = panel_of(column);
        const size_t group = format.group(width);
        for (int64_t chunk = params->ith; chunk < chunks; chunk = ggml_threadpool_chunk_add(params->threadpool, 1)) {
            for (int64_t one = 0; one < count; one += panel) {
                for (int64_t row = groups * chunk / chunks; row < groups * (chunk + 1) / chunks; row++) {
                    multiply(format, static_cast<const uint8_t *>(weights->data) + row * group, op,
                             row * products::ROWS, columns, one, std::min(count, one + panel));
                }
            }
        }
        return true;
    }

private:
    // The columns from `first` to `last`, those of one matrix after those of another.
    static void multiply(const products::Format &format, const uint8_t *rows, ggml_tensor *op, int64_t row,
                         const uint8_t *columns, int64_t first, int64_t last) {
        const int64_t width = op->src[0]->ne[0];
        while (first < last) {
            const int64_t count = std::min(last - first, op->ne[1] - first % op->ne[1]);
            products::multiply(format, rows, width, columns + first * products::column_size(width), count,
                               reinterpret_cast<float *>(start(op, first)) + row, op->nb[1] / sizeof(float));
            first += count;
        }
    }
};

// Never destroyed: threads may still compute while the process ends.
Product &product = *new Product;

bool multiplies_halves(const ggml_tensor *op) {
    const ggml_tensor *weights = op->src[0];
    const ggml_tensor *columns = op->src[1];
    return op->op == GGML_OP_MUL_MAT && halves::available() &&
           // Types.
           weights->type == GGML_TYPE_F16 && columns->type == GGML_TYPE_F32 && op->type == GGML_TYPE_F32 &&
           // Shapes.
           ggml_n_dims(weights) <= 2 && weights->ne[0] > 0 && weights->ne[0] % halves::WIDTH == 0 &&
           weights->ne[1] % halves::ROWS == 0 &&
           // Numbers that follow each other.
           weights->nb[0] == sizeof(ggml_fp16_t) && columns->nb[0] == sizeof(float) && op->nb[0] == sizeof(float);
}

class HalvesProduct final : public ggml::cpu::tensor_traits {
public:
    bool work_size(int /*threads*/, const ggml_tensor * /*op*/, size_t &size) override {
        size = 0;
        return true;
    }

    bool compute_forward(ggml_compute_params *params, ggml_tensor *op) override {
        const ggml_tensor *weights = op->src[0];
        const ggml_tensor *from = op->src[1];
        const int64_t width = from->ne[0];
        const int64_t count = ggml_nrows(from);
        const int64_t groups = weights->ne[1] / halves::ROWS;
        const int64_t chunks = params->nth == 1 ? 1 : std::min(groups, params->nth * CHUNKS);
        if (params->ith == 0) {
            ggml_threadpool_chunk_set(params->threadpool, params->nth);
        }
        ggml_barrier(params->threadpool);
        const int64_t panel = panel_of(static_cast<size_t>(width) * sizeof(float));
        for (int64_t chunk = params->ith; chunk < chunks; chunk = ggml_threadpool_chunk_add(params->threadpool, 1)) {
            const int64_t row = groups * chunk / chunks * halves::ROWS;
            const int64_t rows = groups * (chunk + 1) / chunks * halves::ROWS - row;
            for (int64_t first = 0; first < count;) {
                // Those of one matrix after those of another.
                const int64_t some = std::min({panel, count - first, from->ne[1] - first % from->ne[1]});
                halves::multiply(static_cast<const char *>(weights->data) + row * weights->nb[1], weights->nb[1], rows,
                                 width, start(from, first), from->nb[1], some,
                                 reinterpret_cast<float *>(start(op, first)) + row, op->nb[1] / sizeof(float));
                first += some;
            }
        }
        return true;
    }
};

HalvesProduct &product_of_halves = *new HalvesProduct;

bool attends(const ggml_tensor *op) {
    const ggml_tensor *queries = op->src[0];
    const ggml_tensor *keys = op->src[1];
    const ggml_tensor *values = op->src[2];
    const ggml_tensor *mask = op->src[3];
    const ggml_tensor *sinks = op->src[4];
    if (op->op != GGML_OP_FLASH_ATTN_EXT || mask == nullptr || sinks != nullptr) {
        return false;
    }
    // The factor of the scores, that of a mask which depends on the distance, and the bound of the scores.
    float parameters[3];
    std::memcpy(parameters, op->op_params, sizeof parameters);
    const int64_t size = queries->ne[0];
    const size_t row = static_cast<size_t>(size) * sizeof(float);
    return parameters[1] == 0.0F && parameters[2] == 0.0F && attention::available(size) &&
           // Types.
           op->type == GGML_TYPE_F32 && queries->type == GGML_TYPE_F32 && keys->type == GGML_TYPE_F16 &&
           values->type == GGML_TYPE_F16 && mask->type == GGML_TYPE_F16 &&
           // Shapes.
           keys->ne[0] == size && values->ne[0] == size && keys->ne[1] % attention::CELLS == 0 &&
           values->ne[1] == keys->ne[1] && mask->ne[0] == keys->ne[1] && mask->ne[1] >= queries->ne[1] &&
           queries->ne[2] % keys->ne[2] == 0 && values->ne[2] == keys->ne[2] && mask->ne[2] == 1 &&
           queries->ne[3] == 1 && keys->ne[3] == 1 && values->ne[3] == 1 && mask->ne[3] == 1 &&
           // Numbers that follow each other.
           queries->nb[0] == sizeof(float) && keys->nb[0] == sizeof(ggml_fp16_t) &&
           values->nb[0] == sizeof(ggml_fp16_t) && mask->nb[0] == sizeof(ggml_fp16_t) && op->nb[1] == row &&
           op->nb[2] == row * static_cast<size_t>(op->ne[1]);
}

class Attention final : public ggml::cpu::tensor_traits {
public:
    bool work_size(int threads, const ggml_tensor *op, size_t &size) override {
        size = ALIGNMENT + scratch(op) * static_cast<size_t>(threads);
        return true;
    }

    bool compute_forward(ggml_compute_params *params, ggml_tensor *op) override {
        const ggml_tensor *queries = op->src[0];
        const ggml_tensor *keys = op->src[1];
        const ggml_tensor *values = op->src[2];
        const ggml_tensor *mask = op->src[3];
        float scale = 0.0F;
        std::memcpy(&scale, op->op_params, sizeof scale);
        const attention::Problem problem = {
            queries->ne[0],
            queries->ne[1],
            queries->ne[2],
            keys->ne[2],
            keys->ne[1],
            scale,
            static_cast<const char *>(queries->data),
            queries->nb[1],
            queries->nb[2],
            static_cast<const char *>(keys->data),
            keys->nb[1],
            keys->nb[2],
            static_cast<const char *>(values->data),
            values->nb[1],
            values->nb[2],
            static_cast<const char *>(mask->data),
            mask->nb[1],
            static_cast<float *>(op->data),
        };
        const auto start = reinterpret_cast<uintptr_t>(params->wdata);
        const size_t padding = (ALIGNMENT - start % ALIGNMENT) % ALIGNMENT;
        char *memory = static_cast<char *>(params->wdata) + padding + scratch(op) * static_cast<size_t>(params->ith);

        if (params->ith == 0) {
            ggml_threadpool_chunk_set(params->threadpool, params->nth);
        }
        ggml_barrier(params->threadpool);
        const int64_t parts = attention::parts(problem, params->nth);
        for (int64_t part = params->ith; part < parts; part = ggml_threadpool_chunk_add(params->threadpool, 1)) {
            attention::compute(problem, params->nth, part, memory);
        }
        return true;
    }

private:
    static size_t scratch(const ggml_tensor *op) {
        return (attention::scratch(op->src[0]->ne[0]) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
};

Attention &attention_of_all = *new Attention;

// ggml's own attention of a single token. It cuts the cells of each head into as many parts as there are threads, so
// that the last bits depend on their number; its reference does not.
class SingleToken final : public ggml::cpu::tensor_traits {
public:
    // As much as ggml takes.
    bool work_size(int /*threads*/, const ggml_tensor * /*op*/, size_t & /*size*/) override { return false; }

    bool compute_forward(ggml_compute_params *params, ggml_tensor *op) override {
        ggml_compute_params whole = *params;
        whole.use_ref = true;
        ggml_compute_forward_flash_attn_ext(&whole, op);
        return true;
    }
};

SingleToken &attention_of_one = *new SingleToken;

class Weights final : public ggml::cpu::extra_buffer_type {
public:
    bool supports_op(ggml_backend_dev_t /*device*/, const ggml_tensor *op) override {
        const ggml_tensor *weights = op->src[0];
        const ggml_tensor *columns = op->src[1];
        return op->op == GGML_OP_MUL_MAT && weights->buffer != nullptr && weights->buffer->buft == packed() &&
               format_of(weights) != nullptr && columns->type == GGML_TYPE_F32 && columns->nb[0] == sizeof(float) &&
               (columns->buffer == nullptr || ggml_backend_buft_is_host(columns->buffer->buft));
    }

    ggml::cpu::tensor_traits *get_tensor_traits(const ggml_tensor *op) override {
        if (op->op == GGML_OP_FLASH_ATTN_EXT) {
            if (attends(op)) {
                return &attention_of_all;
            }
            return op->src[0]->ne[1] == 1 ? &attention_of_one : nullptr;
        }
        const ggml_tensor *weights = op->src[0];
        if (multiplies_halves(op)) {
            return &product_of_halves;
        }
        const bool ours = op->op == GGML_OP_MUL_MAT && weights->buffer != nullptr && weights->buffer->buft == packed();
        return ours ? &product : nullptr;
    }
};

Weights &types = *new Weights;

const char *name(ggml_backend_buffer_type_t /*type*/) { return "CPU_DICAST"; }

size_t alignment(ggml_backend_buffer_type_t /*type*/) { return ALIGNMENT; }

void set(ggml_backend_buffer_t /*buffer*/, ggml_tensor *tensor, const void *data, size_t offset, size_t size) {
    const products::Format *format = format_of(tensor);
    GGML_ASSERT(offset == 0 && size == ggml_nbytes(tensor) && format != nullptr);
    products::pack(*format, data, tensor->data, tensor->ne[1], tensor->ne[0]);
}

size_t packed_size(ggml_backend_buffer_type_t /*type*/, const ggml_tensor *tensor) {
    const products::Format *format = format_of(tensor);
    if (format == nullptr) {
        return ggml_nbytes(tensor);
    }
    return format->group(tensor->ne[0]) * static_cast<size_t>(tensor->ne[1] / products::ROWS);
}

ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t size) {
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), size);
    if (buffer != nullptr) {
        buffer->buft = type;
        buffer->iface.set_tensor = set;
        // What is stored is not what was given.
        buffer->iface.get_tensor = nullptr;
        buffer->iface.cpy_tensor = nullptr;
    }
    return buffer;
}

ggml_backend_buffer_type_t packed() {
    static ggml_backend_buffer_type type = {
        {name, allocate, nullptr, alignment, nullptr, packed_size, nullptr, nullptr},
        ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0),
        &types,
    };
    return &type;
}

}  // namespace

void dicast_operations_install(void) {
    // Asked now, and not first while a graph is computed and another thread forks.
    (void)attention::available(0);
    // First, so that no other type takes what this one can.
    std::vector<ggml_backend_buffer_type_t> &all = ggml_backend_cpu_get_extra_buffer_types();
    all.insert(all.begin(), packed());
}

uint64_t dicast_operations_packed(uint32_t type, uint64_t width, uint64_t rows, uint64_t matrices, uint64_t bytes) {
    const products::Format *format = products::find(type);
    if (matrices == 1 && rows % products::ROWS == 0 && format != nullptr) {
        return format->group(static_cast<int64_t>(width)) * (rows / products::ROWS);
    }
    switch (type) {
        // Those that ggml packs for some processor (ggml_repack_get_optimal_repack_type), those of experts too.
#if defined(__aarch64__) || defined(__riscv)
        case GGML_TYPE_Q8_0:
#endif
        case GGML_TYPE_Q4_0:
        case GGML_TYPE_Q2_K:
        case GGML_TYPE_Q4_K:
        case GGML_TYPE_Q5_K:
        case GGML_TYPE_Q6_K:
        case GGML_TYPE_IQ4_NL:
        case GGML_TYPE_MXFP4:
        case GGML_TYPE_Q1_0:
            return rows % 4 == 0 ? bytes : 0;
        default:
            return 0;
    }
}
