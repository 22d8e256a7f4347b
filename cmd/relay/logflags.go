package main

import (
	"io"
	"log/slog"

	"relay/internal/logs"
)

// LogFlags say what is logged, how, and where beside standard error.
type LogFlags struct {
	LogLevel  string `group:"Server" default:"info" enum:"debug,info,warn,error" help:"debug, info, warn or error."`
	LogFormat string `group:"Server" default:"text" enum:"text,json,ecs" help:"text, json, or ecs: JSON with the names of the Elastic Common Schema."`

	LogSyslog         string `group:"Monitoring" placeholder:"URL" help:"Send the log by syslog (RFC 5424), too: udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:///dev/log. A collector that is away costs nothing but lines, which are counted."`
	LogSyslogFacility string `group:"Monitoring" default:"daemon" placeholder:"NAME" help:"The facility of these messages: daemon, user, or local0 to local7."`
	LogSyslogCA       string `group:"Monitoring" name:"log-syslog-ca" placeholder:"FILE" help:"PEM file with the authorities trusted for tls://, in place of the system's."`
	LogSyslogCert     string `group:"Monitoring" placeholder:"FILE" help:"PEM certificate (chain) that is shown to the collector."`
	LogSyslogKey      string `group:"Monitoring" placeholder:"FILE" help:"Its private key."`
}

// logger writes to standard error.
func (f *LogFlags) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	// The parser allows only names of levels.
	_ = level.UnmarshalText([]byte(f.LogLevel))
	options := &slog.HandlerOptions{Level: level}
	switch f.LogFormat {
	case "json":
		return slog.New(slog.NewJSONHandler(w, options))
	case "ecs":
		return slog.New(logs.NewECS(w, level, version()))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// syslogConfig is what the flags make of the program.
func (f *LogFlags) syslogConfig() logs.Config {
	return logs.Config{Address: f.LogSyslog, Facility: f.LogSyslogFacility, CAFile: f.LogSyslogCA, CertFile: f.LogSyslogCert, KeyFile: f.LogSyslogKey}
}
