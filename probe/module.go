package probe

import (
	"github.com/prometheus/blackbox_exporter/config"
)

// The size of the body of an answer that modules read, in bytes, if they do not say another one, and at most.
const (
	moduleBody    = 1 << 20
	maxModuleBody = 16 << 20
)

// boundModule takes from a module what would make a probe ask others than its target, or read without an end.
// A redirect may lead anywhere, as what answers is an app.
func boundModule(m config.Module) config.Module {
	m.HTTP.HTTPClientConfig.FollowRedirects = false
	m.HTTP.NoFollowRedirects = nil
	if m.HTTP.BodySizeLimit <= 0 {
		m.HTTP.BodySizeLimit = moduleBody
	}
	m.HTTP.BodySizeLimit = min(m.HTTP.BodySizeLimit, maxModuleBody)
	return m
}
