package setting

import "regexp"

var validGroup = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,255}$`)

// ValidGroup reports whether text can name a deployment group.
func ValidGroup(text string) bool { return validGroup.MatchString(text) }
