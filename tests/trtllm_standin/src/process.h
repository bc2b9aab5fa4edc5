// State of the whole process: plugins, and what the initialisation of MPI leaves behind.
#pragma once

#include <cstdint>

namespace dicast::standin
{

[[nodiscard]] bool pluginsReady();
// Once per process: installs handlers for SIGABRT and SIGSEGV, as the vendor does if MPI was not initialised before.
void initialiseMpi(bool byHost);
// The values that mpirun gives a process; 1 and 0 without it.
[[nodiscard]] std::int32_t mpiWorldSize();
[[nodiscard]] std::int32_t mpiRank();

} // namespace dicast::standin

extern "C" void dicast_trtllm_standin_plugins_ready() noexcept;
