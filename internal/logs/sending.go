package logs

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"time"
)

// sending is a Syslog that sends.
type sending struct {
	*Syslog
	log  *slog.Logger
	conn net.Conn
	away atomic.Bool
	// well are the datagrams in a row that went well while the collector is taken to be away.
	well int
	// retry is the time until the next try.
	retry time.Duration
}

func (s *sending) isAway() bool { return s.away.Load() }

// serve sends until the context ends.
func (s *sending) serve(ctx context.Context) error {
	defer s.hangUp()
	for {
		message, err := s.next(ctx)
		if err != nil {
			return err
		}
		err = s.send(ctx, message)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			s.failed(err)
			pause(ctx, s.retry)
		default:
			s.done()
			s.succeeded(ctx)
		}
	}
}

// send sends a message, on a new connection if there is none.
func (s *sending) send(ctx context.Context, message string) error {
	ctx, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	if s.conn == nil {
		conn, err := s.dial(ctx)
		if err != nil {
			return err
		}
		s.conn = conn
		if !s.target.datagrams() {
			go hearEnd(conn)
		}
	}
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err := conn.Write(s.target.frame(message))
	return err
}

// hearEnd closes a connection when the other side does: a collector says nothing. Else the first message after that
// would be lost.
func hearEnd(conn net.Conn) {
	_, _ = conn.Read(make([]byte, 1))
	_ = conn.Close()
}

func (s *sending) hangUp() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// failed keeps the message for the next try.
func (s *sending) failed(err error) {
	s.hangUp()
	s.well = 0
	s.retry = min(max(2*s.retry, retryFirst), retryLast)
	if s.target.datagrams() {
		s.retry = retryFirst
	}
	if !s.away.Swap(true) {
		s.log.Warn("lines of the log cannot be sent by syslog: the newest ones are lost when too many wait", "event", "syslog_unreachable", "collector", s.target.Address, "error", err)
	}
}

// succeeded looks whether the collector is back.
func (s *sending) succeeded(ctx context.Context) {
	s.retry = 0
	if !s.away.Load() {
		if s.empty() {
			if lost := s.takeLost(); lost > 0 {
				s.log.Warn("lines of the log were lost: the syslog collector takes them too slowly", "event", "syslog_lines_lost", "collector", s.target.Address, "lost", lost)
			}
		}
		return
	}
	if s.well++; s.target.datagrams() && s.well < sureDatagrams {
		pause(ctx, retryFirst)
		return
	}
	s.away.Store(false)
	s.well = 0
	s.log.Info("lines of the log are sent by syslog again", "event", "syslog_reached", "collector", s.target.Address, "lost", s.takeLost())
}
