#!/usr/bin/perl
use strict;
use warnings;

use CGI;
use Digest::SHA qw(sha256_hex);
use JSON::PP;

$| = 1;
binmode STDOUT;
my $q = CGI->new;

sub text {
    my ($content, @head) = @_;
    print $q->header(-type => 'text/plain', -charset => 'utf-8', @head), $content;
}

sub json {
    print $q->header(-type => 'application/json', -charset => ''), encode_json($_[0]);
}

sub index_page {
    print $q->header(-type => 'text/html'), '<!doctype html><title>Hello</title><h1>Hello</h1>';
}

sub form {
    if ($q->request_method eq 'GET') {
        return text($q->param('name') . ' likes ' . $q->param('colour'));
    }
    my ($name, $colour) = map { CGI::escape(scalar $q->param($_)) } qw(name colour);
    print $q->redirect(-uri => "/form?name=$name&colour=$colour", -status => '303 See Other');
}

sub upload {
    my $file   = $q->upload('file');
    my $content = do { local $/; <$file> } // '';
    my $note   = $q->param('note');
    utf8::decode($note);
    json({
        name   => '' . $q->param('file'),
        size   => length $content,
        sha256 => sha256_hex($content),
        note   => $note,
    });
}

# What is no form is a parameter called POSTDATA.
sub echo {
    my $body = $q->param('POSTDATA') // '';
    print $q->header(-type => $q->content_type, -charset => ''), $body;
}

sub download {
    print $q->header(
        -type           => 'application/octet-stream',
        -charset        => '',
        -attachment     => 'numbers.bin',
        -content_length => 1024 * 1024,
    );
    print pack('C*', map { $_ * 7 % 256 } 0 .. 255) x 4096;
}

sub stream {
    text('');
    for my $number (1 .. 5) {
        select(undef, undef, undef, 0.1) if $number > 1;
        print "line $number\n";
    }
}

sub events {
    print $q->header(-type => 'text/event-stream', -charset => '');
    print "id: $_\ndata: event $_\n\n" for 1 .. 3;
}

sub cookie {
    my @cookies = map { $q->cookie(-name => $_->[0], -value => $_->[1]) } ['a', 1], ['b', 2];
    text('two cookies', -cookie => \@cookies);
}

sub about {
    json({
        scheme    => $q->protocol,
        host      => $q->virtual_host,
        client    => $q->remote_addr,
        path      => $q->path_info,
        query     => $ENV{QUERY_STRING},
        userAgent => $q->user_agent,
    });
}

my @routes = (
    [qr{^(GET|HEAD) /$},               \&index_page],
    [qr{^GET /greet$},                 sub { text('Hello ' . $q->param('name')) }],
    [qr{^GET /path/([^/]+)/x$},        sub { text($1) }],
    [qr{^(GET|POST) /form$},           \&form],
    [qr{^POST /upload$},               \&upload],
    [qr{^POST /echo$},                 \&echo],
    [qr{^(PUT|DELETE|PATCH) /method$}, sub { text($q->request_method) }],
    [qr{^(GET|HEAD) /download$},       \&download],
    [qr{^GET /stream$},                \&stream],
    [qr{^GET /events$},                \&events],
    [qr{^GET /cookie$},                \&cookie],
    [qr{^GET /about$},                 \&about],
    [qr{^GET /error$},                 sub { die 'a mistake made on purpose' }],
    [qr{^GET /who$},                   sub { text($$) }],
);

my $asked = $q->request_method . ' ' . $q->path_info;
for my $route (@routes) {
    my ($pattern, $answer) = @$route;
    if ($asked =~ $pattern) {
        $answer->();
        exit;
    }
}
if ($asked =~ /^(GET|HEAD) /) {
    text('there is no such page', -status => '404 Not Found');
} else {
    text('not like this', -status => '405 Method Not Allowed');
}
