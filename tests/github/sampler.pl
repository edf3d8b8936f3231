# Looks at every command line and environment there is, over and over, from before the start to the end.
use strict;
use warnings;
my $planted = 'can' . 'ary';
my %seen;
open my $found, '>>', '/mnt/files/seen' or die;
$found->autoflush(1);
$SIG{TERM} = 'IGNORE';

sub content {
    my ($path) = @_;
    open my $file, '<', $path or return '';
    local $/;
    return <$file> // '';
}

while (1) {
    for my $process (glob '/proc/[0-9]*') {
        for my $kind (qw(cmdline environ)) {
            my $name = content("$process/comm");
            my $text = content("$process/$kind");
            # In between it may have become another program: then it is looked at again.
            next if index($text, $planted) < 0 || content("$process/comm") ne $name;
            chomp $name;
            for (grep { index($_, $planted) >= 0 } split /\0/, $text) {
                my $where = "$kind $name " . ($kind eq 'environ' ? s/=.*//sr : '');
                print $found "$where\n" unless $seen{$where}++;
            }
        }
    }
    print $found "round\n" unless $seen{round}++;
}
