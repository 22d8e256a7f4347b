package logs

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/rfc5424"
)

// A message is at most about 8 kB long, which is what rsyslog takes, in parts of at most so many bytes.
const (
	maxValue  = 2000 // of one field
	maxFields = 4500 // of all fields as structured data
	maxText   = 2500 // of the text
	maxName   = 32   // of the name of a field, and of an event: RFC 5424 says so
)

// fieldsID names the fields of a line in the structured data. The number is the one that RFC 5612 keeps for
// documentation: it stands for an enterprise number, which Relay has none of.
const fieldsID = "relay@32473"

// Facilities are those of RFC 5424, table 1, that programs may use.
var Facilities = map[string]uint8{
	"user": 1, "daemon": 3, "local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21, "local6": 22, "local7": 23,
}

// header is what all messages of a process have.
type header struct {
	facility         uint8
	host, app, procs string
}

func newHeader(facility, host string, pid int) header {
	return header{Facilities[facility], token(host, 255, ""), "relay", strconv.Itoa(pid)}
}

// message is a line of the log by RFC 5424: its event is the MSGID, its fields are structured data and also follow
// the words, as most receivers write down nothing but these.
func (h header) message(at time.Time, level slog.Level, words string, fields []field) (string, error) {
	priority := h.facility<<3 | severity(level)
	values := make(map[string]string, len(fields))
	var said strings.Builder
	said.WriteString(words)
	event, size := "", 0
	for _, f := range fields {
		value := line(f.value, maxValue)
		if f.key == "event" {
			event = token(value, maxName, "")
		} else if said.Len() < maxText {
			said.WriteString(" " + f.key + "=" + quoted(value))
		}
		name := token(f.key, maxName, `=]"`)
		if size += len(name) + 2*len(value) + 4; size <= maxFields && name != "" {
			values[name] = value
		}
	}
	message := rfc5424.SyslogMessage{Version: 1, Base: syslog.Base{Priority: &priority, Timestamp: &at, Appname: &h.app, ProcID: &h.procs}}
	if h.host != "" {
		message.Hostname = &h.host
	}
	if event != "" {
		message.MsgID = &event
	}
	if len(values) > 0 {
		message.StructuredData = &map[string]map[string]string{fieldsID: values}
	}
	all := line(said.String(), maxText)
	message.Message = &all
	return message.String()
}

// severity is that of RFC 5424, table 2.
func severity(level slog.Level) uint8 {
	switch {
	case level >= slog.LevelError:
		return 3
	case level >= slog.LevelWarn:
		return 4
	case level >= slog.LevelInfo:
		return 6
	}
	return 7
}

// quoted is a value as slog's text has it: in quotes if it has a space or a quote.
func quoted(value string) string {
	if value == "" || strings.ContainsAny(value, " =\"\\") {
		return strconv.Quote(value)
	}
	return value
}

// Enabled implements slog.Handler.
func (h handler) Enabled(_ context.Context, level slog.Level) bool { return h.enabled(level) }

// Handle implements slog.Handler.
func (h handler) Handle(_ context.Context, r slog.Record) error {
	fields := h.fields[:len(h.fields):len(h.fields)]
	r.Attrs(func(a slog.Attr) bool {
		fields = flatten(fields, h.group, []slog.Attr{a})
		return true
	})
	h.take(r, fields)
	return nil
}

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(attributes []slog.Attr) slog.Handler { return h.with("", attributes) }

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.with(name+".", nil)
}
