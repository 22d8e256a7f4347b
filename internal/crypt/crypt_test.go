package crypt

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// known are hashes of the password "correct horse" with a space in it, of all kinds, as other programs made them.
var known = []struct{ by, hash string }{
	{"mkpasswd -m sha-256", "$5$7h8u0twWCmjPDpa8$.Bv.DR1mN93WFZFTKKiMokgF9zBRdX0xSjU55XIGDJ8"},
	{"mkpasswd -m sha-512", "$6$sXa.skpaVFMRId4T$udC5CRZH.EFzBRvw9ht8i3D4YPkb4/09sWe2DlhInl7Jt0eoKTt4UtGw.l66N1oATj78tLp4sq7jgtV0CUSvC0"},
	{"mkpasswd -m bcrypt", "$2b$05$LKHvCD8E6c7v6xrBeq1tU.rmB2aqKKvD7zgc9nr98bOZt21FFuP3q"},
	{"mkpasswd -m bcrypt-a", "$2a$05$k2rBtQ0hmPXD7Zoj/sQLNOq7sup8a8Tr.5FGMQJEpPypgd3SaZI.u"},
	{"mkpasswd -m md5", "$1$vGuWGiYM$2XLVqEDnF0Zx0Yn5nf0V90"},
	{"mkpasswd -m yescrypt", "$y$j9T$5RNMq.cvt4.9giG0TrhoV1$hoQzNMFGPrYj6w1U55unuRvfMbw6bHjuF0ygYrgCe14"},
	{"mkpasswd -m sha-512 -R 20000", "$6$rounds=20000$/0gfgjQU7YsAmr9c$Nr.n/slqO6s17wtymtfBp6WhboSFUEeDkhKEfbE3dobhBsroe42m8Blp59TQG57iCReLvwVcIQ0I80il.RSGo/"},
	{"mkpasswd -m sha-256 -R 1000", "$5$rounds=1000$PLsaTs45OJzV4l3s$INvvYzJXzAJFp5YYZ27BOlZjCw6gfPA2lBbzSd699j/"},
	{"mkpasswd -m bcrypt -R 10", "$2b$10$zddJap7IERugoxtnoL8pO.qxRHKb53D/10K2Gr72OozTN3IrF5zNS"},
	{"mkpasswd -m yescrypt -R 3", "$y$j7T$CRs34UGJQfE7nJbMRstMn.$QbfuMUJGKO31hks4dG7yr7fB3mKuIzsRnYIbtJnl5c3"},
	{"openssl passwd -5", "$5$b3d62El8cVWUd8PP$8NnUtBdxGX4XFHwZ.3bdvlNcHe6ZUD9oRHdSK1qjA67"},
	{"openssl passwd -6", "$6$D3QZdVNtwzvRnutW$YZyL0CDKHXwro1k7ayH0H11/dUKEZBR3pr2aR5VeWETSDR3Ujrrr0C/VEWbW344ed0jo5g3Tm93EoU6B089db0"},
	{"openssl passwd -apr1", "$apr1$l4l.iryn$J2JItP8asQpoBCQs5KGs11"},
	{"openssl passwd -1", "$1$h4i50dN2$loY212BVphQt1Q5V032Fm1"},
	{"htpasswd -B", "$2y$05$qtr48sCxGIfJLQ8Si1L2heDX7/o595UONYdeXUbvHEV5nbsJetR7e"},
	{"htpasswd -s", "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A="},
	{"htpasswd -m", "$apr1$3zpNCsco$RRZwKbG451C7b7m.LLGBD0"},
	{"htpasswd -2", "$5$XpZplzNRYjgnbKlW$J2Om06ky7svyaw7iK8PqI5iuMA/PSfY6vBPnD5FvD5C"},
	{"htpasswd -5", "$6$oJtJ/f1BU2pC.leR$fT3WOBTfWr8n/qx0BaPjOiFpKWKU0iihgi.CJ/41jhUEYyoEiconfHk2l3L3Y/pPa/Gr.RhK.jqwXWw6T6NZd/"},
}

const password = "correct horse"

func TestKnownHashes(t *testing.T) {
	t.Parallel()
	for _, k := range known {
		h, err := Parse(k.hash)
		if err != nil {
			t.Errorf("%s: %v", k.by, err)
			continue
		}
		if !h.Matches(password) {
			t.Errorf("%s: the password does not fit %s", k.by, k.hash)
		}
		for _, wrong := range []string{"", "correct hors", "correct horsf", "Correct horse", password + " ", password + "\x00", password + "\n"} {
			if h.Matches(wrong) {
				t.Errorf("%s: %q fits", k.by, wrong)
			}
		}
		if h.Cost("") <= 0 || h.Cost(longest) > MaxCost {
			t.Errorf("%s: %+v", k.by, h)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for hash, reason := range map[string]string{
		"":                                  "no password hash",
		"topsecret":                         "no password hash",
		"$7$CU..../....salt$hash":           "unknown kind",
		"$2x$10$" + strings.Repeat("a", 53): "unknown kind",
		"{SSHA}topsecret":                   "unknown kind",
		"{SHA}W6ph5Mm5Pz8=":                 "malformed",
		"$6$x":                              "malformed",
		"$6$saltsaltsaltsalts$" + strings.Repeat("a", 86):        "malformed", // crypt(3) cuts the salt
		"$6$rounds=999$s$" + strings.Repeat("a", 86):             "malformed", // and raises the rounds
		"$6$rounds=05000$s$" + strings.Repeat("a", 86):           "malformed",
		"$6$rounds=9999999999$s$" + strings.Repeat("a", 86):      "malformed",
		"$5$s$" + strings.Repeat("a", 86):                        "malformed",
		"$6$rounds=999999999$s$" + strings.Repeat("a", 86):       "too long to check",
		"$5$rounds=1000001$s$" + strings.Repeat("a", 43):         "too long to check",
		"$2y$31$" + strings.Repeat("a", 53):                      "too long to check",
		"$2y$15$" + strings.Repeat("a", 53):                      "too long to check",
		"$2y$03$" + strings.Repeat("a", 53):                      "malformed",
		"$2y$32$" + strings.Repeat("a", 53):                      "malformed",
		"$2y$10$" + strings.Repeat("a", 52):                      "malformed",
		"$1$saltsalts$" + strings.Repeat("a", 22):                "malformed",
		"$y$jzzTT$salt$" + strings.Repeat("a", 43):               "parameters",
		"$y$jFT$abcdefgh$" + strings.Repeat("a", 43):             "too much memory",
		"$y$j9T$abcdefgh$" + strings.Repeat("a", 43) + "$" + "x": "parameters",
		"$6$salt$" + strings.Repeat("a", 85) + "\n":              "malformed",
		"$6$sa:lt$" + strings.Repeat("a", 86):                    "malformed",
	} {
		h, err := Parse(hash)
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v, want %q", hash, err, reason)
		}
		if err != nil && len(hash) > 8 && strings.Contains(err.Error(), hash[len(hash)-8:]) {
			t.Errorf("%q is in its error", hash)
		}
		if h.Matches("") || h.Matches(password) {
			t.Errorf("%q lets in", hash)
		}
	}
}

// Of DES, seven bits of eight bytes count.
func TestDES(t *testing.T) {
	t.Parallel()
	for hash, p := range map[string]string{"abhfCpXqd4GrI": password, "zAHe1Ns2ukQe6": "pässwör"} {
		h, err := Parse(hash)
		if err != nil || !h.Matches(p) || h.Matches(p[:7]) || h.Matches("") || h.Matches(strings.ToUpper(p)) {
			t.Errorf("%s: %v", hash, err)
		}
		if !h.Matches(Canonical(hash, p)) || Canonical(hash, p) != Canonical(hash, p[:8]+"more") {
			t.Errorf("%s: %q counts", hash, Canonical(hash, p))
		}
	}
}

// A long password costs nothing, and only what a hash looks at counts.
func TestLongPasswords(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", MaxPassword)
	made, err := bcrypt.GenerateFromPassword([]byte(long[:72]), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	h, err := Parse(string(made))
	if err != nil || !h.Matches(long) || h.Matches(long[:71]) || Canonical(string(made), long) != long[:72] {
		t.Errorf("of bcrypt, 72 bytes count: %v", err)
	}
	if h.Matches(long + "x") {
		t.Error("a password that is too long fits")
	}
}

// TestOtherPrograms makes hashes anew, of passwords of every kind.
func TestOtherPrograms(t *testing.T) {
	t.Parallel()
	passwords := []string{"a", "12345678", "123456789", "pässwörd", strings.Repeat("long", 20), "with:colon", "日本語", "\xff\xfe"}
	for _, p := range passwords {
		for _, kind := range []string{"-1", "-apr1", "-5", "-6"} {
			cmd := exec.Command("openssl", "passwd", kind, "-stdin")
			cmd.Stdin = strings.NewReader(p + "\n")
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("openssl passwd: %v", err)
			}
			hash := strings.TrimSpace(string(out))
			h, err := Parse(hash)
			if err != nil || !h.Matches(p) || h.Matches(p+"x") {
				t.Errorf("%q by openssl passwd %s: %s %v", p, kind, hash, err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, k := range known {
		f.Add(k.hash)
	}
	f.Fuzz(func(t *testing.T, hash string) {
		h, err := Parse(hash)
		if err != nil {
			return
		}
		if h.Cost("") <= 0 || h.Cost(longest) > MaxCost {
			t.Errorf("%q: %s", hash, h.Cost(longest))
		}
		if h.Cost("") < 10*time.Millisecond && h.Matches("\x00") {
			t.Errorf("%q lets in", hash)
		}
	})
}

// BenchmarkMatches measures what Cost estimates.
func BenchmarkMatches(b *testing.B) {
	for _, k := range known {
		h, err := Parse(k.hash)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%s/%s", strings.ReplaceAll(k.by, " ", "_"), h.Cost(password)), func(b *testing.B) {
			for b.Loop() {
				h.Matches(password)
			}
		})
	}
}
