# For every interactive bash: ssh logins (by /etc/profile), terminals of VS Code and Coder, `docker exec`.
[ -z "${PS1-}" ] && return

# A container goes without warning, and its terminals with it: the history is on disk after each command.
shopt -s checkwinsize histappend
[[ "${PROMPT_COMMAND[*]}" == *"history -a"* ]] || PROMPT_COMMAND+=("history -a")

PS1='\u@\h:\w\$ '

if ! shopt -oq posix && [ -r /usr/share/bash-completion/bash_completion ]; then
    . /usr/share/bash-completion/bash_completion
fi
