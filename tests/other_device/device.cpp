// A device whose memory is the host's, and whose tensors mix with those of the CPU as little as a
// GPU's do. See "Facilitating New Backend Integration by PrivateUse1" in PyTorch's tutorials.

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

namespace {

constexpr auto kType = c10::DeviceType::PrivateUse1;
const c10::Device kDevice(kType, 0);
const c10::DispatchKeySet kKey(c10::DispatchKey::PrivateUse1);

using at::IntArrayRef;
using at::Tensor;
using Maybe = std::optional<Tensor>;

struct Allocator final : at::Allocator {
  at::DataPtr allocate(size_t bytes) override {
    void* data = bytes ? c10::alloc_cpu(bytes) : nullptr;
    return {data, data, &c10::free_cpu, kDevice};
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
} allocator;

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device) const override { return kDevice; }
  c10::Device getDevice() const override { return kDevice; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  bool isAvailable() const override { return true; }
} hooks;

// The same memory, as a tensor of the CPU.
Tensor host(const Tensor& t) {
  if (!t.is_privateuseone()) return t;
  auto options = t.options().device(at::kCPU).requires_grad(false);
  return at::from_blob(t.data_ptr(), t.sizes(), t.strides(), options);
}

Maybe host(const Maybe& t) { return t && t->defined() ? Maybe(host(*t)) : std::nullopt; }

Tensor back(const Tensor& t) { return t.defined() ? t.to(kDevice) : t; }

Tensor empty(IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
             std::optional<at::Device>, std::optional<bool>,
             std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &allocator, kKey, c10::dtype_or_default(dtype), format);
}

Tensor empty_strided(IntArrayRef size, IntArrayRef stride, std::optional<at::ScalarType> dtype,
                     std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  auto kind = c10::dtype_or_default(dtype);
  return at::detail::empty_strided_generic(size, stride, &allocator, kKey, kind);
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool) {
  host(to).copy_(host(from));
  return to;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  if (to.sizes() != from.sizes()) to.resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Scalar item(const Tensor& t) { return at::_local_scalar_dense(host(t)); }

Tensor& set_storage(Tensor& t, at::Storage storage) {
  int64_t size = storage.nbytes() / t.dtype().itemsize();
  return at::native::set_storage_cpu_(t, storage, 0, {size}, {1});
}

Tensor& set_tensor(Tensor& t, const Tensor& from) {
  auto offset = from.storage_offset();
  return at::native::set_storage_cpu_(t, from.storage(), offset, from.sizes(), from.strides());
}

Tensor convolution(const Tensor& input, const Tensor& weight, const Maybe& bias, IntArrayRef stride,
                   IntArrayRef padding, IntArrayRef dilation, bool transposed,
                   IntArrayRef output_padding, int64_t groups) {
  return back(at::convolution(host(input), host(weight), host(bias), stride, padding, dilation,
                              transposed, output_padding, groups));
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(
    const Tensor& gradient, const Tensor& input, const Tensor& weight, IntArrayRef stride,
    IntArrayRef padding, IntArrayRef dilation, bool transposed, IntArrayRef output_padding,
    int64_t groups, std::array<bool, 3> mask) {
  int64_t bias = transposed ? weight.size(1) * groups : weight.size(0);
  auto [a, b, c] = at::convolution_backward(
      host(gradient), host(input), host(weight), IntArrayRef{bias}, stride, padding, dilation,
      transposed, output_padding, groups, mask);
  return {back(a), back(b), back(c)};
}

// Writes to mean and variance, which its schema does not tell.
std::tuple<Tensor, Tensor, Tensor> batch_norm(const Tensor& input, const Maybe& weight,
                                              const Maybe& bias, const Maybe& mean,
                                              const Maybe& variance, bool training,
                                              double momentum, double epsilon) {
  auto [a, b, c] = at::native_batch_norm(host(input), host(weight), host(bias), host(mean),
                                         host(variance), training, momentum, epsilon);
  return {back(a), back(b), back(c)};
}

// All else is done on copies, after a look at where the tensors are. Only scalars, and indices,
// may be the CPU's.
void fallback(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& name = op.schema().name();
  bool takes_indices = name.starts_with("aten::index") || name.starts_with("aten::_index_put");
  auto check = [&](const Tensor& t) {
    TORCH_CHECK(!t.defined() || t.is_privateuseone() || t.dim() == 0, name,
                ": Expected all tensors to be on the same device");
  };
  for (const auto& value : torch::jit::last(*stack, op.schema().arguments().size())) {
    if (value.isTensor()) check(value.toTensor());
    if (value.isTensorList() && !takes_indices)
      for (const auto& t : value.toTensorVector()) check(t);
  }
  at::native::cpu_fallback(op, stack);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("_local_scalar_dense", item);
  m.impl("as_strided", at::native::as_strided_tensorimpl);
  m.impl("view", at::native::view);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("resize_", at::native::resize_);
  m.impl("set_.source_Storage", set_storage);
  m.impl("set_.source_Storage_storage_offset", at::native::set_storage_cpu_);
  m.impl("set_.source_Tensor", set_tensor);
  m.impl("convolution_overrideable", convolution);
  m.impl("convolution_backward_overrideable", convolution_backward);
  m.impl("native_batch_norm", batch_norm);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
}

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

const bool is_registered = [] {
  c10::SetAllocator(kType, &allocator);
  at::RegisterPrivateUse1HooksInterface(&hooks);
  return true;
}();

}  // namespace
