# The target `torch` and TORCH_INCLUDE_DIRS, made from the folder of a PyTorch alone. The CMake package that lies in a CUDA wheel
# stops unless a whole CUDA toolkit is installed; we include no header of CUDA, so libtorch's own headers and libraries are enough.
# No flag for the ABI: wheels have that of C++11, the compiler's default.
set(oldest_torch 2.13)
if(NOT DECOSCOPE_TORCH)
  set(DECOSCOPE_TORCH ${CMAKE_SOURCE_DIR}/.venv/lib/python3.11/site-packages/torch)
endif()
get_filename_component(torch_folder "${DECOSCOPE_TORCH}" ABSOLUTE BASE_DIR ${CMAKE_SOURCE_DIR})
string(CONCAT torch_help "Set DECOSCOPE_TORCH to the folder that 'python3 -c \"import torch; print(torch.__path__[0])\"' prints, in a Python "
  "with torch ${oldest_torch} or newer ('pip install torch==2.13.0' brings one), or build with -DDECOSCOPE_WITH_TORCH=OFF, for table models only.")

foreach(file include/ATen/ATen.h lib/libtorch.so lib/libtorch_cpu.so lib/libc10.so)
  if(NOT EXISTS "${torch_folder}/${file}")
    message(FATAL_ERROR "DECOSCOPE_TORCH=${torch_folder} holds no libtorch: there is no ${file}. ${torch_help}")
  endif()
endforeach()

# Older ones keep their version in the second file.
set(torch_version "")
foreach(file include/torch/headeronly/version.h include/torch/csrc/api/include/torch/version.h)
  if(NOT torch_version AND EXISTS "${torch_folder}/${file}")
    file(READ "${torch_folder}/${file}" content)
    if(content MATCHES "TORCH_VERSION_MAJOR ([0-9]+).*TORCH_VERSION_MINOR ([0-9]+).*TORCH_VERSION_PATCH ([0-9]+)")
      set(torch_version ${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3})
    endif()
  endif()
endforeach()
if(NOT torch_version)
  message(FATAL_ERROR "The version of the libtorch in DECOSCOPE_TORCH=${torch_folder} cannot be read from its include/torch/headeronly/version.h. ${torch_help}")
elseif(torch_version VERSION_LESS oldest_torch)
  message(FATAL_ERROR "DECOSCOPE_TORCH=${torch_folder} holds libtorch ${torch_version}, which is too old. ${torch_help}")
endif()

set(TORCH_INCLUDE_DIRS "${torch_folder}/include" "${torch_folder}/include/torch/csrc/api/include")
# Imported, so that the include folders are system ones and its headers give no warnings.
add_library(torch INTERFACE IMPORTED GLOBAL)
target_include_directories(torch INTERFACE ${TORCH_INCLUDE_DIRS})
# We call nothing in libtorch.so, yet it brings in the backends that register themselves (CUDA), so the linker must keep it. In one
# item, which CMake cannot take apart; the others are plain paths and give the rpath.
target_link_libraries(torch INTERFACE "-Wl,--push-state,--no-as-needed,\"${torch_folder}/lib/libtorch.so\",--pop-state"
                      "${torch_folder}/lib/libtorch_cpu.so" "${torch_folder}/lib/libc10.so")
set(torch_kind "without CUDA")
if(EXISTS "${torch_folder}/lib/libtorch_cuda.so")
  # It finds the CUDA libraries of other wheels by its own rpath when it is loaded; they need not be there when we link.
  target_link_options(torch INTERFACE -Wl,--allow-shlib-undefined)
  set(torch_kind "with CUDA")
endif()
message(STATUS "libtorch ${torch_version}, ${torch_kind}: ${torch_folder}")
