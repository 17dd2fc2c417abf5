#!/usr/bin/perl
# Writes down every execution of a request by its number, and answers with what it received: the app
# of `ledger.py` as a CGI script. Its release is what the file `release` says.
use strict;
use warnings;

use Compress::Zlib qw(adler32);
use Fcntl;
use Time::HiRes qw(sleep time);

$| = 1;
binmode $_ for *STDIN, *STDOUT;
my ($app, $worker, $method) = @ENV{qw(RIP_APP_ID RIP_WORKER_ID REQUEST_METHOD)};

my ($number) = $ENV{PATH_INFO} =~ m{/(\d+)$};
if (!defined $number) {
    print "Content-Type: text/plain\n\nready";
    exit;
}
my %asked  = map { split /=/, $_, 2 } split /&/, $ENV{QUERY_STRING};
my $length = $ENV{CONTENT_LENGTH} || 0;
my $body   = '';
while (length $body < $length) {
    read(STDIN, $body, $length - length $body, length $body) or exit 1;
}
my $checksum = adler32($body);
my $release  = 1;
if (open my $file, '<', 'release') {
    chomp($release = <$file>);
}

my $words = join ' ', $number, $method, length $body, $checksum, $worker, $$, int(time * 1e6), $app;
sysopen my $book, "$ENV{RECORD}/executed-w$worker", O_WRONLY | O_CREAT | O_APPEND, 0600 or die $!;
syswrite $book, "$words\n";
close $book;

if (exists $asked{pieces}) {
    print "Content-Type: text/event-stream\n\n";
    for my $index (0 .. $asked{pieces} - 1) {
        print "data: $number $index\n\n";
        sleep $asked{gap};
    }
    print "data: $number end $worker $app $release\n\n";
    exit;
}
sleep(($asked{ms} || 0) / 1000);
my $bytes = length $body;
print "Content-Type: application/json\n\n";
print qq({"number": $number, "method": "$method", "bytes": $bytes, "checksum": $checksum, );
print qq("worker": $worker, "app": "$app", "release": "$release"});
