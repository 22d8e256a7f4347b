package crypt

import (
	"regexp"
	"time"
)

var desHash = regexp.MustCompile(`^[./0-9A-Za-z]{13}$`)

// desBytes is how many bytes of a password count to DES, and desRounds how often it is encrypted.
const desBytes, desRounds = 8, 25

// parseDES understands the oldest hashes of crypt(3): two characters of salt, and a block of zeros that was encrypted with
// the password.
func parseDES(hash string) (Hash, error) {
	return Hash{cost: 500 * time.Microsecond, matches: func(password []byte) bool {
		return same(desCrypt(password, hash[:2]), hash)
	}}, nil
}

// desCrypt makes a hash. DES is here as https://csrc.nist.gov/pubs/fips/46-3/final has it, bit by bit, but for the salt: each of its bits that is
// set swaps two bits of the expansion.
func desCrypt(password []byte, salt string) string {
	key := make([]byte, 64)
	for i, c := range canonicalDES(string(password)) {
		for bit := range 7 {
			key[8*i+bit] = byte(c) >> (6 - bit) & 1
		}
	}
	expansion := desE
	for i, c := range []byte(salt) {
		value := indexOf(c)
		for bit := range 6 {
			if n := 6*i + bit; value>>bit&1 == 1 {
				expansion[n], expansion[n+24] = expansion[n+24], expansion[n]
			}
		}
	}
	keys := desKeys(key)
	block := make([]byte, 66) // the two last bits of the last character are 0
	for range desRounds {
		desEncrypt(block[:64], keys, &expansion)
	}
	out := []byte(salt)
	for i := 0; i < 66; i += 6 {
		value := 0
		for _, bit := range block[i : i+6] {
			value = value<<1 | int(bit)
		}
		out = append(out, alphabet[value])
	}
	return string(out)
}

// canonicalDES is the part of a password that counts: seven bits of eight bytes.
func canonicalDES(password string) string {
	part := []byte(password[:min(len(password), desBytes)])
	for i := range part {
		part[i] &= 0x7f
	}
	return string(part)
}

func indexOf(c byte) int {
	for i := range alphabet {
		if alphabet[i] == c {
			return i
		}
	}
	return 0
}

// permute returns the bits that a table picks, which counts them from 1.
func permute(bits []byte, table []byte) []byte {
	out := make([]byte, len(table))
	for i, from := range table {
		out[i] = bits[from-1]
	}
	return out
}

// desKeys are the keys of the 16 steps.
func desKeys(key []byte) (keys [16][]byte) {
	halves := permute(key, desPC1)
	for i, shift := range desShifts {
		for _, half := range [][]byte{halves[:28], halves[28:]} {
			for range shift {
				first := half[0]
				copy(half, half[1:])
				half[27] = first
			}
		}
		keys[i] = permute(halves, desPC2)
	}
	return keys
}

// desEncrypt encrypts a block in place.
func desEncrypt(block []byte, keys [16][]byte, expansion *[48]byte) {
	bits := permute(block, desIP)
	left, right := bits[:32], bits[32:]
	var boxed [32]byte
	for _, key := range keys {
		for box := range 8 {
			var six [6]byte
			for i := range six {
				n := 6*box + i
				six[i] = right[expansion[n]-1] ^ key[n]
			}
			row, column := six[0]<<1|six[5], six[1]<<3|six[2]<<2|six[3]<<1|six[4]
			value := desS[box][16*row+column]
			for i := range 4 {
				boxed[4*box+i] = value >> (3 - i) & 1
			}
		}
		next := permute(boxed[:], desP)
		for i := range next {
			next[i] ^= left[i]
		}
		left, right = right, next
	}
	copy(block, permute(append(append([]byte{}, right...), left...), desFP))
}
