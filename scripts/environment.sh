# Sourced by the commands beside it (POSIX sh), which set $here to this folder.
# ensure_environment EXTRA... leaves a virtual environment that works and its interpreter in $VENV_PYTHON.
#
# PYTHON           the Python to build the environment with (default: the first on PATH that will do)
# HOPFIELD_VENV    where the environment is, relative to the repository root (default: .venv)
# HOPFIELD_EXTRAS  further extras of pyproject.toml to install, such as "cuda" or "hf tracking"
# shellcheck shell=sh disable=SC2154

ROOT=${here%/*}
VENV=${HOPFIELD_VENV:-.venv}
case $VENV in /*) ;; *) VENV=$ROOT/$VENV ;; esac
VENV_PYTHON=$VENV/bin/python
uv=$(command -v uv || true)

# Another environment that is active in the caller's shell must not leak into this one.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV CONDA_PREFIX

fail() {
  echo "hopfield_attn: $*" >&2
  exit 1
}

# probe_python PYTHON: prints "3.11 /its/executable", or "3.8 !why it will not do"; nothing when it does not run.
probe_python() {
  "$1" -c '
import sys
reason = ""
if sys.version_info < (3, 11):
    reason = "is too old"
elif not sys.argv[1]:
    for module in ("venv", "ensurepip"):
        try:
            __import__(module)
        except ImportError:
            reason = "lacks the module %s (Debian, Ubuntu: apt install python3-venv)" % module
print("%d.%d %s" % (sys.version_info[0], sys.version_info[1], "!" + reason if reason else sys.executable))
' "$uv" 2>/dev/null
}

# Sets $base_python, or ends with one line that says what is missing.
find_python() {
  if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
  else
    set -- python3 python3.13 python3.12 python3.11 python
  fi
  refused=
  for candidate; do
    probe=$(probe_python "$candidate") || continue
    case $probe in
      *' !'*) refused=${refused:-"$candidate (${probe%% *}) ${probe#* !}"} ;;
      *) base_python=${probe#* } && return ;;
    esac
  done
  if [ -n "$refused" ]; then
    reason=$refused
  elif [ -n "${PYTHON:-}" ]; then
    reason="PYTHON=$PYTHON does not run"
  else
    reason='none was found on PATH'
  fi
  fail "Python 3.11 or newer is needed: $reason. To name one: PYTHON=/path/to/python3"
}

# One environment holds one Python: a $PYTHON that is another one is told so.
check_python() {
  if [ -z "${PYTHON:-}" ] || [ ! -x "$VENV_PYTHON" ]; then return 0; fi
  wanted=$(probe_python "$PYTHON") || fail "PYTHON=$PYTHON does not run"
  present=$(probe_python "$VENV_PYTHON") || return 0
  if [ "${wanted%% *}" != "${present%% *}" ]; then
    fail "$VENV is Python ${present%% *}, PYTHON is ${wanted%% *}: remove that folder, or set HOPFIELD_VENV to another"
  fi
}

# What an installed extra depends on. The paths belong to it: a checkout that moved installs again.
fingerprint() {
  { echo "$ROOT $VENV" && cat "$ROOT/pyproject.toml" "$ROOT"/requirements/*.txt; } 2>/dev/null | cksum
}

# are_installed EXTRA...: every one has a stamp that is up to date.
are_installed() {
  [ -x "$VENV_PYTHON" ] || return 1
  current_stamp=$(fingerprint)
  for extra; do
    stamp=
    if [ -r "$VENV/$extra.stamp" ]; then read -r stamp <"$VENV/$extra.stamp"; fi
    if [ -z "$stamp" ] || [ "$stamp" != "$current_stamp" ]; then return 1; fi
  done
}

make_environment() {
  find_python
  # Only what is certainly an environment is cleared: a HOPFIELD_VENV set to the wrong folder costs nothing.
  if [ -e "$VENV" ] && [ ! -e "$VENV/pyvenv.cfg" ] && [ -n "$(find "$VENV/" -type f | head -n 1)" ]; then
    fail "$VENV is not a virtual environment: remove it, or set HOPFIELD_VENV to another folder"
  fi
  if [ -n "$uv" ]; then
    uv venv --quiet --clear --seed --python "$base_python" "$VENV"
  else
    "$base_python" -m venv --clear "$VENV"
  fi || fail "no virtual environment could be made in $VENV (the reason is above)"
}

# Sets $constraints to the versions the suite runs on under the environment's Python.
choose_constraints() {
  version=$("$VENV_PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  case $version in
    2.* | 3.? | 3.10) fail "$VENV is Python $version, and 3.11 or newer is needed: remove it, or set HOPFIELD_VENV" ;;
    3.11) constraints=$ROOT/requirements/py311.txt ;;
    3.12 | 3.13) constraints=$ROOT/requirements/py312.txt ;;
    *)
      constraints=
      echo "requirements/ lists no versions for Python $version: the newest are taken" >&2
      ;;
  esac
}

# install_extras EXTRA...: stamps are written last, so an install that was interrupted leaves none.
install_extras() {
  stamp=$(fingerprint)
  rm -f "$VENV/core.stamp"
  extras=
  for extra; do
    rm -f "$VENV/$extra.stamp"
    if [ "$extra" != core ]; then extras=${extras:+$extras,}$extra; fi
  done
  set -- core "$@"
  target=$ROOT${extras:+[$extras]}
  echo "Installing hopfield_attn${extras:+[$extras]} into ${VENV#"$ROOT/"} (about a minute) …" >&2
  # pip for the large extras: it sees builds that the user's pip settings name, and uv does not.
  case $uv,$extras, in
    ,* | *,compare,* | *,tpu-compiler,*)
      "$VENV_PYTHON" -m pip install -qq ${constraints:+-c "$constraints"} -e "$target" ;;
    *)
      "$uv" pip install -q --compile-bytecode --python "$VENV_PYTHON" ${constraints:+-c "$constraints"} -e "$target" ;;
  esac || return 1
  for extra; do echo "$stamp" >"$VENV/$extra.stamp"; done
}

make_and_install() {
  # The caller's settings that would send packages elsewhere; those of indexes and proxies stay.
  unset PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER PIP_PYTHON PIP_CONSTRAINT PIP_REQUIREMENT PIP_NO_DEPS PIP_DRY_RUN \
    PIP_NO_BUILD_ISOLATION UV_SYSTEM_PYTHON UV_PYTHON UV_CONSTRAINT UV_OVERRIDE UV_NO_BUILD_ISOLATION
  "$VENV_PYTHON" -c '' 2>/dev/null || make_environment
  choose_constraints
  # An environment that someone else made, or whose making was interrupted, may have no pip yet.
  "$VENV_PYTHON" -m pip --version >/dev/null 2>&1 || "$VENV_PYTHON" -m ensurepip >/dev/null ||
    fail "$VENV has no pip: remove it"
  install_extras "$@" || fail "the installation failed (the reason is above)"
}

# ensure_environment EXTRA...: ends the caller with one clear line when it cannot. "core" is the package alone.
ensure_environment() {
  check_python
  if are_installed "$@"; then return; fi
  mkdir -p "$VENV" || fail "no environment can be made in $VENV"
  # Under a lock, so that two commands started at once don't fill the same folder.
  (
    if command -v flock >/dev/null; then flock 9 || true; fi
    are_installed "$@" || make_and_install "$@"
  ) 9<"$VENV" || {
    rmdir "$VENV" 2>/dev/null || true
    exit 1
  }
}

# run_script FILE ARGUMENT...: a Python file beside this one, in the environment, in place of the caller.
run_script() {
  # shellcheck disable=SC2086  # a list of extras
  ensure_environment core ${HOPFIELD_EXTRAS:-}
  file=$1
  shift
  exec "$VENV_PYTHON" "$here/$file" "$@"
}
