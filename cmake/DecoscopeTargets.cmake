# One call per folder. Sources are globbed on purpose: adding a method or a view is one new file, no list to edit.

add_library(decoscope_options INTERFACE)
target_include_directories(decoscope_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(decoscope_options INTERFACE -Wall -Wextra -Wno-missing-field-initializers)
# GCC 12 sees these where a std::variant or std::string is moved; they are false.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  target_compile_options(decoscope_options INTERFACE -Wno-maybe-uninitialized -Wno-restrict)
endif()
target_compile_definitions(decoscope_options INTERFACE DECOSCOPE_VERSION="${PROJECT_VERSION}")
if(DECOSCOPE_SANITIZE)
  target_compile_options(decoscope_options INTERFACE -fsanitize=address,undefined -fno-omit-frame-pointer)
  target_link_options(decoscope_options INTERFACE -fsanitize=address,undefined)
  if(DECOSCOPE_FUZZ)
    target_compile_options(decoscope_options INTERFACE -fsanitize=fuzzer-no-link -fno-sanitize-recover=all)
  endif()
endif()

# decoscope_folder(NAME [RECURSE] [PUBLIC lib…] [PRIVATE lib…]): a static library of the current folder's *.cpp.
function(decoscope_folder name)
  cmake_parse_arguments(ARG "RECURSE" "" "PUBLIC;PRIVATE" ${ARGN})
  if(ARG_RECURSE)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS *.cpp *.h)
  else()
    file(GLOB sources CONFIGURE_DEPENDS *.cpp *.h)
  endif()
  # A file that the folder has already put into a library of its own is not built twice.
  foreach(target ${ARG_PUBLIC})
    if(TARGET ${target})
      get_target_property(type ${target} TYPE)
      if(type STREQUAL STATIC_LIBRARY)
        get_target_property(taken ${target} SOURCES)
        get_target_property(folder ${target} SOURCE_DIR)
        if(folder STREQUAL CMAKE_CURRENT_SOURCE_DIR)
          list(TRANSFORM taken PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
          list(REMOVE_ITEM sources ${taken})
        endif()
      endif()
    endif()
  endforeach()
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC decoscope_options ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
endfunction()

# decoscope_tests(FOLDER lib…): every tests/FOLDER/Test*.cpp is one Qt Test executable and one ctest entry.
function(decoscope_tests folder)
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/Test*.cpp)
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    set_target_properties(${name} PROPERTIES AUTOMOC ON)
    target_link_libraries(${name} PRIVATE ${ARGN} Qt6::Test)
    target_compile_definitions(${name} PRIVATE QT_NO_KEYWORDS DECOSCOPE_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
      DECOSCOPE_FIXTURES="${CMAKE_SOURCE_DIR}/../shared/fixtures")
    add_test(NAME ${folder}.${name} COMMAND ${name})
    # Qt's own limit for a function is 300 s, which a busy machine takes for a training of fifty steps. Threads
    # of libtorch that wait must not spin: tests run side by side, and spinning takes the others' cores.
    set_tests_properties(${folder}.${name} PROPERTIES LABELS ${folder} TIMEOUT 600 SKIP_RETURN_CODE 77
      ENVIRONMENT "QTEST_FUNCTION_TIMEOUT=580000;OMP_WAIT_POLICY=passive")
  endforeach()
endfunction()
