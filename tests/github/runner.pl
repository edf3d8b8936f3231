#!/usr/bin/perl
# The double of `config.sh` and of `bin/Runner.Listener`: what they do with GitHub is a line to port 7001 here; what
# they do with their folder, environment, signals and exit codes is what the real ones do.
use strict;
use warnings;
use FindBin;
use IO::Socket::INET;

$| = 1;
my $configures = $0 =~ /config\.sh$/;
my $folder = $configures ? $FindBin::RealBin : "$FindBin::RealBin/..";
chdir $folder or die "chdir: $!";

sub connected {
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1:7001') or do { print "Cannot connect: $!\n"; exit 2 };
    $socket->autoflush(1);
    return $socket;
}

sub ask {
    my ($line) = @_;
    my $socket = connected();
    print $socket "$line\n";
    my $answer = <$socket>;
    exit 1 unless defined $answer;
    chomp $answer;
    return $answer;
}

sub write_file {
    my ($name, $content) = @_;
    open my $file, '>', $name or do { print "Cannot write $name: $!\n"; exit 1 };
    print $file $content;
    close $file;
}

sub configuration {
    my ($id, $name) = @_;
    # .NET's mark comes first.
    write_file('.runner', "\xef\xbb\xbf{\n  \"agentId\": $id,\n  \"agentName\": \"$name\",\n  \"workFolder\": \"_work\"\n}");
    write_file('.credentials', '{"scheme":"OAuth"}');
    write_file('.credentials_rsaparams', '{}');
}

sub configured {
    open my $file, '<', '.runner' or return;
    my $text = do { local $/; <$file> };
    return $text =~ /"agentId": (\d+),\s*"agentName": "([^"]+)"/;
}

if ($configures) {
    if ($> == 0) { print "Must not run with sudo\n"; exit 1 }
    my $token = delete $ENV{ACTIONS_RUNNER_INPUT_TOKEN} // '';
    my %option;
    my $command = @ARGV && $ARGV[0] !~ /^--/ ? shift : 'configure';
    while (@ARGV) {
        my $name = shift;
        $option{$name} = $name =~ /^--(unattended|disableupdate|ephemeral|replace)$/ ? 1 : shift;
    }
    if ($token eq '') { print "Enter runner token:\n"; exit 1 }
    if ($command eq 'remove') {
        my ($id) = configured() or do { print "Not configured\n"; exit 1 };
        my $answer = ask("remove $token $id");
        print "$answer\n";
        exit 1 if $answer ne 'ok';
        unlink '.runner', '.credentials', '.credentials_rsaparams';
        exit 0;
    }
    if (-e '.runner') { print "Cannot configure the runner because it is already configured.\n"; exit 1 }
    for (qw(--unattended --disableupdate --url --name --labels --work)) {
        if (!defined $option{$_}) { print "$_ is missing\n"; exit 1 }
    }
    write_file('.env', join('', map { "$_=$ENV{$_}\n" } grep { defined $ENV{$_} } qw(LANG)));
    write_file('.path', $ENV{PATH});
    my $answer = ask("register $token $option{'--name'} " . ($option{'--ephemeral'} // 0) . " $option{'--labels'}");
    my ($id) = $answer =~ /^id (\d+)$/ or do { $answer =~ s/^error //; print "$answer\n"; exit 1 };
    configuration($id, $option{'--name'});
    write_file('.ephemeral', '') if $option{'--ephemeral'};
    print "Settings Saved.\n";
    exit 0;
}

# The listener.
if (my $jit = delete $ENV{ACTIONS_RUNNER_INPUT_JITCONFIG}) {
    my ($id, $name) = $jit =~ /^jitcanary\.(\d+)\.(.+)$/ or exit 1;
    configuration($id, $name);
    write_file('.ephemeral', '');
}
print "\n\xe2\x88\x9a Connected to GitHub\n\n";
print "Current runner version: '2.337.0'\n";
my ($id, $name) = configured() or do { print "Not configured. Run config.sh first.\n"; exit 1 };
my $socket = connected();
my ($job, $running);

sub end_job {
    my ($by_force) = @_;
    return unless $job;
    kill 'KILL', $job if $by_force;
    waitpid $job, 0;
    $job = undef;
}

# SIGTERM cancels the job; there is no drain. The job itself is asked by SIGINT.
$SIG{TERM} = $SIG{INT} = sub {
    print "Exiting...\n";
    if (-e "$ENV{HOME}/stubborn") { sleep 1000 while 1 }
    # By way of the worker, which takes a moment.
    if ($job) { select undef, undef, undef, 0.5; kill 'INT', $job; end_job(0); print "2026-11-21 12:00:00Z: Job $running completed with result: Canceled\n"; }
    exit 0;
};

print $socket "session $id\n";
while (my $line = <$socket>) {
    chomp $line;
    if ($line eq 'ok') {
        print "2026-11-21 12:00:00Z: Listening for Jobs\n";
    } elsif ($line =~ /^exit (\d+)$/) {
        print "2026-11-21 12:00:00Z: ends with $1\n";
        exit $1;
    } elsif ($line eq 'gone') {
        next if -e "$ENV{HOME}/stubborn";
        unlink '.runner', '.credentials', '.credentials_rsaparams';
        print "The runner registration has been deleted from the server, please re-configure.\n";
        exit 0;
    } elsif ($line =~ /^job (.+)$/) {
        $running = $1;
        print "2026-11-21 12:00:00Z: Running job: $running\n";
        mkdir '_work';
        $job = fork;
        if (!$job) {
            $SIG{TERM} = $SIG{INT} = 'DEFAULT';
            close $socket;
            $ENV{RUNNER_TRACKING_ID} = 'github_1';
            exec 'sh', '-c', 'trap "echo the step is cancelled; exit" INT; trap "echo the step is terminated" TERM;
                env > _work/environment; setsid sleep 2000 & id -u > _work/user; while :; do sleep 0.1; done';
        }
    } elsif ($line eq 'finish') {
        end_job(1);
        print "2026-11-21 12:00:00Z: Job $running completed with result: Succeeded\n";
        print $socket "done\n";
        if (-e '.ephemeral') { unlink '.runner', '.credentials', '.credentials_rsaparams', '.ephemeral'; exit 0 }
    }
}
print "Connection lost\n";
exit 2;
