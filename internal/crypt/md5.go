package crypt

import (
	"crypto/md5"
	"regexp"
	"time"
)

// alphabet is that of crypt(3), of six bits a character.
const alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

var md5Hash = regexp.MustCompile(`^(\$1\$|\$apr1\$)([^$:\x00-\x20\x7f]{0,8})\$([./0-9A-Za-z]{22})$`)

// parseMD5 understands MD5-crypt, and the same with another mark, which htpasswd writes by default.
func parseMD5(hash string) (Hash, error) {
	m := md5Hash.FindStringSubmatch(hash)
	if m == nil {
		return Hash{}, errMalformed
	}
	mark, salt, want := m[1], m[2], m[3]
	return Hash{cost: md5Rounds * 150 * time.Nanosecond, grows: true, matches: func(password []byte) bool {
		return same(md5Crypt(password, mark, salt), want)
	}}, nil
}

const md5Rounds = 1000

// md5Crypt makes a hash as FreeBSD did first: https://man.freebsd.org/cgi/man.cgi?query=crypt&sektion=3.
func md5Crypt(password []byte, mark, salt string) string {
	first := md5.New()
	first.Write(password)
	first.Write([]byte(salt))
	first.Write(password)
	sum := first.Sum(nil)
	digest := md5.New()
	digest.Write(password)
	digest.Write([]byte(mark + salt))
	for left := len(password); left > 0; left -= md5.Size {
		digest.Write(sum[:min(left, md5.Size)])
	}
	for bits := len(password); bits > 0; bits >>= 1 {
		if bits&1 == 1 {
			digest.Write([]byte{0})
		} else {
			digest.Write(password[:1])
		}
	}
	sum = digest.Sum(nil)
	for i := range md5Rounds {
		sum = md5Round(i, sum, password, salt)
	}
	return encodeMD5(sum)
}

func md5Round(i int, sum, password []byte, salt string) []byte {
	digest := md5.New()
	if i&1 == 1 {
		digest.Write(password)
	} else {
		digest.Write(sum)
	}
	if i%3 != 0 {
		digest.Write([]byte(salt))
	}
	if i%7 != 0 {
		digest.Write(password)
	}
	if i&1 == 1 {
		digest.Write(sum)
	} else {
		digest.Write(password)
	}
	return digest.Sum(nil)
}

func encodeMD5(sum []byte) string {
	var out []byte
	write := func(value uint, characters int) {
		for range characters {
			out = append(out, alphabet[value&63])
			value >>= 6
		}
	}
	for i := range 5 {
		last := i + 12
		if i == 4 {
			last = 5
		}
		write(uint(sum[i])<<16|uint(sum[i+6])<<8|uint(sum[last]), 4)
	}
	write(uint(sum[11]), 2)
	return string(out)
}
