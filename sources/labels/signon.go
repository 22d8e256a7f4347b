package labels

// Who somebody is, as others say.
var signOnLabels = []Label{
	{Key: "RELAY_{n}_USED_BY", Field: "usedBy", setting: (*Settings).readUsedBy,
		meaning: "apps of other top-level folders that may use the port by naming the app, as `RELAY_{n}_AUTH_APP` does: ids, folders such as `/shop/*`, or `*` for all, with spaces between. " +
			"Their requests come past the port's own password and networks",
		byDefault: "apps in the same top-level folder", example: "/shop/* /billing/web"},
}
