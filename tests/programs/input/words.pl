# Hashes of hashes, regular expressions, sorting, string growth, and what is freed at the end of scopes.
use strict;
use warnings;
my @words = map { my $n = $_; join '', map { chr(97 + ($n * 31 + $_ * 7) % 26) } 1 .. 3 + $n % 9 } 1 .. 4000;
my (%by_first, %count);
for my $w (@words) {
    push @{ $by_first{ substr $w, 0, 1 }{ length $w } }, $w;
    $count{$_}++ for $w =~ /(?=([a-z]{2}))/g;
}
for my $f (sort keys %by_first) {
    print "$f ", join(',', map { "$_:" . scalar @{ $by_first{$f}{$_} } } sort { $a <=> $b } keys %{ $by_first{$f} }), "\n";
}
my $text = join ' ', @words;
$text =~ s/(\w+) (\w+)/$2-$1/g for 1 .. 3;
print length $text, ' ', unpack('%32C*', $text), "\n";
my $long = '';
$long .= "$_;" x ($_ % 50) for 1 .. 3000;
print length $long, ' ', scalar(() = $long =~ /7;/g), "\n";
my @top = (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 19];
print "$_ $count{$_}\n" for @top;
