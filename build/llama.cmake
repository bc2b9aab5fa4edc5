# Included by llama.cpp's project when it is built in this repository (.cargo/config.toml). What is never run here, or
# once for each model, is compiled with less optimisation, which takes a third of the time off. What runs for each step
# stays as it is.
cmake_minimum_required(VERSION 3.19)

# Files of a target that match, with a flag.
function(dicast_compile target files flag)
  get_target_property(sources ${target} SOURCES)
  get_target_property(folder ${target} SOURCE_DIR)
  list(FILTER sources INCLUDE REGEX "^(${files})[.]cpp$")
  list(TRANSFORM sources PREPEND "${folder}/")
  set_source_files_properties(${sources} TARGET_DIRECTORY ${target} PROPERTIES COMPILE_OPTIONS ${flag})
endfunction()

function(dicast_compile_all)
  set(once
      "llama|llama-(arch|cparams|hparams|impl|io|kv-cache-.*|memory.*|mmap|model|model-loader)|unicode|unicode-data")
  dicast_compile(llama "${once}" -O1)
  dicast_compile(llama "llama-(adapter|chat|grammar|model-saver|quant|sampler)" -O0)
  dicast_compile(ggml-base "ggml-(backend-meta|opt)|gguf" -O1)
endfunction()

if(PROJECT_NAME STREQUAL "llama.cpp" AND CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  cmake_language(DEFER CALL dicast_compile_all)
endif()
