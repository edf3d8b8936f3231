# An ssh login starts without the container's environment. /opt/ansible/bin comes last: it serves ansible-lint, which looks for
# itself there, and gives `python` the libraries that Ansible has.
export LANG="${LANG:-C.UTF-8}"
case ":$PATH:" in
*:/opt/ansible/bin:*) ;;
*) PATH="$PATH:/opt/ansible/bin" ;;
esac
