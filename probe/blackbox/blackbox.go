// Package blackbox asks by the modules of the settings, as Prometheus' blackbox_exporter does.
package blackbox
