package graphite

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// maxPart is the longest part of a path that is sent: Graphite keeps it as the name of a file,
// which Linux allows 255 bytes, and adds ".wsp" to.
const maxPart = 200

// Lines are metrics in Graphite's plaintext protocol: "path value time" each, sorted by path. Names
// are those that client_golang's bridge to Graphite makes, so that what people know of other programs is
// right here. An empty label and a value that is no number are left out.
// See https://graphite.readthedocs.io/en/latest/feeding-carbon.html
func Lines(families []*dto.MetricFamily, prefix string, tags bool, now time.Time) ([]byte, error) {
	samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.TimeFromUnix(now.Unix())}, families...)
	if err != nil {
		return nil, err
	}
	lines := make([][]byte, 0, len(samples))
	for _, s := range samples {
		if math.IsNaN(float64(s.Value)) {
			continue
		}
		line := make([]byte, 0, 128)
		if prefix != "" {
			line = append(append(line, prefix...), '.')
		}
		line = append(line, path(s.Metric, tags)...)
		line = append(line, ' ')
		line = strconv.AppendFloat(line, float64(s.Value), 'g', -1, 64)
		line = append(line, ' ')
		line = strconv.AppendInt(line, s.Timestamp.Unix(), 10)
		lines = append(lines, append(line, '\n'))
	}
	slices.SortFunc(lines, bytes.Compare)
	return bytes.Join(lines, nil), nil
}

// path is the name of a metric with its labels: name.label.value, or name;label=value.
func path(m model.Metric, tags bool) string {
	var labels []string
	for name := range m {
		if name != model.MetricNameLabel && m[name] != "" {
			labels = append(labels, string(name))
		}
	}
	slices.Sort(labels)
	var out strings.Builder
	out.WriteString(part(string(m[model.MetricNameLabel])))
	for _, name := range labels {
		value := string(m[model.LabelName(name)])
		if tags {
			out.WriteString(";" + name + "=" + tagValue(value))
		} else {
			out.WriteString("." + part(name) + "." + part(value))
		}
	}
	return out.String()
}

// part is one part of a path. What Graphite does not take in one becomes "_", and of several only one.
func part(text string) string {
	var out strings.Builder
	last := rune(0)
	for _, r := range text {
		if !(r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) || r == ':' || r == '-') {
			r = '_'
		}
		if r == '_' && last == '_' {
			continue
		}
		if last = r; out.Len() == maxPart {
			break
		}
		out.WriteRune(r)
	}
	return out.String()
}

// tagValue is a value of a tag: Graphite takes all but ";", and "~" at its beginning, and the protocol no space.
func tagValue(text string) string {
	clean := strings.Map(func(r rune) rune {
		if r == ';' || r == unicode.ReplacementChar || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, text)
	if strings.HasPrefix(clean, "~") {
		clean = "_" + clean[1:]
	}
	return strings.ToValidUTF8(clean[:min(len(clean), maxPart)], "")
}

// Prefix is one that Graphite takes, with {host} replaced by the name of this machine.
func Prefix(pattern, host string) string {
	host, _, _ = strings.Cut(host, ".")
	return strings.Trim(strings.ReplaceAll(pattern, "{host}", part(host)), ".")
}

// ValidPrefix reports whether a prefix can begin a name: parts of letters, digits, "_" and "-" with a dot between them.
func ValidPrefix(prefix string) bool {
	for p := range strings.SplitSeq(prefix, ".") {
		if p == "" || part(p) != p {
			return prefix == ""
		}
	}
	return true
}
