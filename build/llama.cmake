# Included by llama.cpp's project when it is built in this repository (.cargo/config.toml). Most of its library runs
# once for each model or for each graph, or never here, and is compiled with less optimisation, which takes a fourth of
# the time off. What runs for each step and for each word of a vocabulary stays as it is, as do ggml's operations.

# A flag for the files of a target that match.
function(dicast_compile target files flag)
  get_target_property(sources ${target} SOURCES)
  get_target_property(folder ${target} SOURCE_DIR)
  list(FILTER sources INCLUDE REGEX "^(${files})[.]cpp$")
  list(TRANSFORM sources PREPEND "${folder}/")
  set_source_files_properties(${sources} TARGET_DIRECTORY ${target} PROPERTIES COMPILE_OPTIONS ${flag})
endfunction()

function(dicast_compile_all)
  target_compile_options(llama PRIVATE -O1)
  dicast_compile(llama "llama-(batch|context|graph|kv-cache|vocab)" -O3)
  dicast_compile(llama "llama-(adapter|chat|grammar|model-saver|quant|sampler)" -O0)
  dicast_compile(ggml-base "ggml-(backend-meta|opt)|gguf" -O1)
endfunction()

# Deferred calls came with CMake 3.19; without them all is compiled alike.
if(PROJECT_NAME STREQUAL "llama.cpp" AND NOT CMAKE_VERSION VERSION_LESS 3.19 AND NOT MSVC)
  cmake_language(DEFER CALL dicast_compile_all)
endif()
