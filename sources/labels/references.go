package labels

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"relay/sources"
)

// maxUsedBy is how many apps and folders a port can name that may use it.
const maxUsedBy = 100

var (
	validApp = regexp.MustCompile(`^(?:/|deployment-group/)[!-)+-9;-~]+$`)
	// A folder has a slash at its end, or a name that begins so would count as in it.
	validUsers = regexp.MustCompile(`^(?:\*|/(?:[!-)+-9;-~]+/)?\*)$`)
)

// UsedBy returns the apps that may use the port by naming it.
func (s *Settings) UsedBy() []string { return s.usedBy }

func (s *Settings) readUsedBy(value string) {
	fields := strings.Fields(value)
	if len(fields) > maxUsedBy {
		s.refuse(maxUsedBy, "apps and folders")
		return
	}
	for _, field := range fields {
		if len(field) > sources.MaxIDBytes || !validApp.MatchString(field) && !validUsers.MatchString(field) {
			s.problem("%.40q lets nobody use the port: write the id of an app such as /shop/web, a folder such as /shop/*, or *", field)
			continue
		}
		s.usedBy = append(s.usedBy, field)
	}
	slices.Sort(s.usedBy)
	s.usedBy = slices.Compact(s.usedBy)
}

// parseAppRef reads the id of an app, with the index of a port after a colon if that is not 0: "/platform/sso:1".
// Apps of a deployment group are named by it: "deployment-group/sso".
func parseAppRef(text string) (ref sources.AppRef, ok bool) {
	app, port, has := strings.Cut(text, ":")
	ref.App = app
	if has {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n >= sources.MaxPorts {
			return ref, false
		}
		ref.Port = int(n)
	}
	return ref, len(app) <= sources.MaxIDBytes && validApp.MatchString(app)
}
