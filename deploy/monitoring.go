package deploy

import _ "embed"

// Alerts are the rules of alerts.yaml, and Alertmanager is alertmanager.yml: for the demo, which shows what they do.
var (
	//go:embed alerts.yaml
	Alerts string
	//go:embed alertmanager.yml
	Alertmanager string
)
