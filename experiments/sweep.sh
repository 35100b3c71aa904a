# sweep_on ARGUMENT...: ./scripts/sweep; one with failed runs (exit code 1) does not end the script
# that calls it, but is its exit code. A stop (75) and wrong arguments (2) end it.
failed=0

sweep_on() {
  code=0
  "$here/scripts/sweep" "$@" || code=$?
  case $code in
    0) ;;
    1) failed=1 ;;
    *) exit $code ;;
  esac
}
