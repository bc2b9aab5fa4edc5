// State of the whole process: plugins, and what the initialisation of MPI leaves behind.
#pragma once

#include <cstdint>

namespace dicast::standin
{

[[nodiscard]] bool pluginsReady();
// Once in a process: takes SIGABRT and SIGSEGV, as the vendor does where nobody initialised MPI before.
void initialiseMpi(bool byHost);
// What mpirun tells a process; 1 and 0 without it.
[[nodiscard]] std::int32_t mpiWorldSize();
[[nodiscard]] std::int32_t mpiRank();

} // namespace dicast::standin

extern "C" void dicast_trtllm_standin_plugins_ready() noexcept;
