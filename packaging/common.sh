# Shared by packaging/start and packaging/test. Sourced, not run.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${DECOSCOPE_BUILD:-$root/build}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/decoscope
started=$SECONDS

say() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - started)); }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "installing packages needs root: run this as root or install sudo"
  fi
}

packages=(g++ cmake ninja-build pkg-config git ca-certificates unzip python3 python3-venv python3-pip
  nlohmann-json3-dev libexpected-dev libcli11-dev libonig-dev libpcre2-dev libsentencepiece-dev libicu-dev libsqlite3-dev libssl-dev libhwy-dev
  qt6-base-dev libqt6opengl6-dev libqt6svg6 libgl-dev libgl1-mesa-dri libimgui-dev libstb-dev libbenchmark-dev
  libcairo2-dev libpango1.0-dev fonts-inter fonts-jetbrains-mono fonts-dejavu-core fonts-noto-cjk fonts-noto-color-emoji
  xvfb xauth xkb-data)

install_packages() {
  local missing=() package
  for package in "${packages[@]}"; do
    dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  say "Installing Debian packages: ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Sets DECOSCOPE_TORCH to the user's own PyTorch, or to one in a private virtual environment.
install_torch() {
  if [ -n "${DECOSCOPE_TORCH:-}" ]; then
    { [ -e "$DECOSCOPE_TORCH/lib/libtorch.so" ] && [ -d "$DECOSCOPE_TORCH/include/ATen" ]; } \
      || die "DECOSCOPE_TORCH=$DECOSCOPE_TORCH holds no lib/libtorch.so or no include/ATen; give the folder that 'python3 -c \"import torch; print(torch.__path__[0])\"' prints"
    return
  fi
  if ! ls "$root"/.venv/lib/python3*/site-packages/torch/lib/libtorch.so >/dev/null 2>&1; then
    say "Installing PyTorch into .venv"
    # Debian's own Python: another one on the PATH may not have the wheels.
    /usr/bin/python3 -m venv "$root/.venv"
    "$root/.venv/bin/pip" install --quiet torch==2.13.0 || die "PyTorch could not be installed; check the network, or set DECOSCOPE_TORCH to a PyTorch that you have"
  fi
  DECOSCOPE_TORCH=$(echo "$root"/.venv/lib/python3*/site-packages/torch)
  export DECOSCOPE_TORCH
}

configure_and_build() { # extra cmake options…
  say "Building"
  local launcher=()
  command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DDECOSCOPE_TORCH="$DECOSCOPE_TORCH" "${launcher[@]}" "$@" >"$build.configure.log" 2>&1 \
    || { tail -n 30 "$build.configure.log" >&2; die "configuring failed; the whole log is in $build.configure.log"; }
  cmake --build "$build"
}
