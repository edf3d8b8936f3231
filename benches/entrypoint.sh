#!/bin/sh
# Start to end of a service that ends at once, and resident memory, of the entrypoint and of tini side by side.
# Needs root, util-linux, perl and tini. Build first:
#   cargo build -p entrypoint --profile image --target x86_64-unknown-linux-musl
# Usage: benches/entrypoint.sh [ENTRYPOINT [ROUNDS]]
set -eu
entrypoint=$(realpath "${1:-target/x86_64-unknown-linux-musl/image/entrypoint}")
rounds=${2:-300}
echo "size: $(stat -c %s "$entrypoint") bytes (tini: $(stat -L -c %s "$(command -v tini)"))"
export ENTRYPOINT="$entrypoint" ROUNDS="$rounds"
# Folders of its own, so that /bin/true can be the web server.
exec unshare --mount --pid --fork --mount-proc --net --kill-child sh -euc '
    for folder in /run /opt /home; do mount -t tmpfs tmpfs $folder; done
    cp /etc/passwd /run/passwd; grep -q ^ansible: /run/passwd || echo ansible:x:1000:1000::/home/ansible:/bin/sh >> /run/passwd
    mount --bind /run/passwd /etc/passwd
    install -d -o 1000 -g 1000 /home/ansible
    mkdir -p /opt/code-server/bin; cp /bin/true /opt/code-server/bin/code-server
    perl -MTime::HiRes=time -e '\''
        sub ms { my @command = @_; my $begin = time; system(@command); (time - $begin) * 1000 }
        my %cases = (
            "1 tini"                     => sub { ms("tini", "-s", "--", "/bin/true") },
            "2 entrypoint"               => sub { local $ENV{VSCODE_WEB} = 1; ms($ENV{ENTRYPOINT}) },
            "3 entrypoint with a secret" => sub { local @ENV{"VSCODE_WEB", "GITHUB_TOKEN"} = (1, "x"); ms($ENV{ENTRYPOINT}) },
        );
        open STDERR, ">", "/dev/null"; my %times;
        # In turns, so that what else the machine does hits all of them.
        for (1 .. $ENV{ROUNDS}) { push @{$times{$_}}, $cases{$_}->() for sort keys %cases }
        for (sort keys %times) {
            my @sorted = sort { $a <=> $b } @{$times{$_}};
            printf "%-28s median %.2f ms, fastest %.2f ms\n", substr($_, 2), $sorted[@sorted / 2], $sorted[0];
        }
    '\''
    cp /bin/sleep /opt/code-server/bin/code-server.real
    printf "#!/bin/sh\nexec /opt/code-server/bin/code-server.real 60\n" > /opt/code-server/bin/code-server
    memory() { awk -v who="$1" "/^(Rss|Pss):/ { printf \"%s %s %s kB\n\", who, \$1, \$2 }" "/proc/$2/smaps_rollup"; }
    VSCODE_WEB=1 "$ENTRYPOINT" 2>/dev/null & own=$!
    tini -s -- sleep 60 & theirs=$!
    until pgrep -P $own >/dev/null && pgrep -P $theirs >/dev/null; do :; done
    memory entrypoint $own; memory tini $theirs
'
