#!/bin/bash
# A double of the runner's config.sh: registers or removes, and writes what the real one writes; into .env all that it sees but the token.
set -euo pipefail
cd "$(dirname "$0")"
if [[ ${1:-} == remove ]]; then
    sleep 1
    printf '%s' "$ACTIONS_RUNNER_INPUT_TOKEN" | curl --silent --fail --data-binary @- "$(cat .server)/double/remove/$(jq .agentId .runner)"
    rm .runner .credentials
    exit
fi
[[ ! -e .runner ]] || { echo "Cannot configure the runner because it is already configured."; exit 1; }
while (($#)); do
    case $1 in
        --url) url=$2; shift 2 ;;
        --name) name=$2; shift 2 ;;
        --labels | --work | --runnergroup) shift 2 ;;
        *) shift ;;
    esac
done
server=${url%/*/*}
# The real one takes its time, too: whoever looks gets to see this process.
sleep 1
answer=$(printf '%s' "$ACTIONS_RUNNER_INPUT_TOKEN" | curl --silent --fail --data-binary @- "$server/double/register/$name") \
    || { echo "A runner exists with the same name"; exit 1; }
id=$(jq .id <<<"$answer")
jq --null-input --argjson id "$id" --arg name "$name" --arg url "$url" \
    '{agentId: $id, agentName: $name, poolId: 1, serverUrl: $url, gitHubUrl: $url, workFolder: "_work"}' > .runner
echo '{}' > .credentials
echo "$server" > .server
env | grep -v '^ACTIONS_RUNNER_INPUT_TOKEN=' > .env
echo "√ Runner successfully added"
