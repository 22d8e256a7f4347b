package marathon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"relay/sources"
)

// The types below hold the fields of Marathon's REST API that routing needs.
// Old releases write null where new ones omit a field; both leave the zero value.

type appJSON struct {
	ID              string               `json:"id"`
	Version         string               `json:"version"`
	VersionInfo     *versionInfoJSON     `json:"versionInfo"`
	Instances       int                  `json:"instances"`
	Labels          map[string]string    `json:"labels"`
	Networks        []networkJSON        `json:"networks"`
	Container       *containerJSON       `json:"container"`
	IPAddress       *ipPerTaskJSON       `json:"ipAddress"`
	PortDefinitions []portDefinitionJSON `json:"portDefinitions"`
	Ports           []int                `json:"ports"`
	HealthChecks    []*healthCheckJSON   `json:"healthChecks"`
	Tasks           []taskJSON           `json:"tasks"`
	KillSelection   remark               `json:"killSelection"`
	// LastTaskFailure is a lastFailureJSON. It is for people first: its shape breaks nothing.
	LastTaskFailure json.RawMessage `json:"lastTaskFailure"`
	readinessJSON
}

// versionInfoJSON is missing of an app that was never changed.
type versionInfoJSON struct {
	LastConfigChangeAt string `json:"lastConfigChangeAt"`
	LastScalingAt      remark `json:"lastScalingAt"`
}

type networkJSON struct {
	Mode string `json:"mode"`
	Name string `json:"name"`
}

type containerJSON struct {
	PortMappings []portMappingJSON `json:"portMappings"`
	Docker       *struct {
		Network      string            `json:"network"`
		PortMappings []portMappingJSON `json:"portMappings"`
	} `json:"docker"`
}

type portMappingJSON struct {
	ContainerPort int      `json:"containerPort"`
	HostPort      *int     `json:"hostPort"`
	ServicePort   int      `json:"servicePort"`
	Name          string   `json:"name"`
	Protocol      string   `json:"protocol"`
	NetworkNames  []string `json:"networkNames"`
}

// ipPerTaskJSON is the "ipAddress" of releases before 1.5.
type ipPerTaskJSON struct {
	Discovery *struct {
		Ports []struct {
			Number   int    `json:"number"`
			Name     string `json:"name"`
			Protocol string `json:"protocol"`
		} `json:"ports"`
	} `json:"discovery"`
}

type portDefinitionJSON struct {
	Port     int    `json:"port"`
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
}

type healthCheckJSON struct {
	GracePeriodSeconds *int   `json:"gracePeriodSeconds"`
	Protocol           string `json:"protocol"`
	PortIndex          int    `json:"portIndex"`
	Port               int    `json:"port"`
}

type taskJSON struct {
	ID                 string              `json:"id"`
	Host               string              `json:"host"`
	State              string              `json:"state"`
	Version            string              `json:"version"`
	Ports              []int               `json:"ports"`
	IPAddresses        []ipAddressJSON     `json:"ipAddresses"`
	StagedAt           string              `json:"stagedAt"`
	StartedAt          string              `json:"startedAt"`
	HealthCheckResults []*healthResultJSON `json:"healthCheckResults"`
	Region             string              `json:"region"`
	Zone               string              `json:"zone"`

	// isKept tells of an instance of a pod that Marathon has not given up, though it is
	// unreachable: a task of an app has its ports or times then.
	isKept bool
}

type ipAddressJSON struct {
	IPAddress string `json:"ipAddress"`
}

type healthResultJSON struct {
	Alive *bool `json:"alive"`
	// LastSuccess and LastFailureCause are for people. Either may be missing.
	LastSuccess      string `json:"lastSuccess"`
	LastFailureCause string `json:"lastFailureCause"`
}

// decoded is one app of an answer. A field of another type than expected is
// named in mismatch, and everything else is there.
type decoded struct {
	app      appJSON
	mismatch string
	// single tells that the answer is about one app: only such a one has the last failure.
	single bool
}

// decodeApps reads {"apps":[…]} to its very end and calls each for every
// app as it comes. An error means that the document as a whole must not be used. If raw is
// not nil it is called with each app before, as it is written.
func decodeApps(r io.Reader, raw func(app []byte), each func(decoded) error) error {
	d := json.NewDecoder(r)
	if err := expectDelim(d, '{'); err != nil {
		return err
	}
	seen := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if key != "apps" {
			if err := skipValue(d); err != nil {
				return err
			}
			continue
		}
		if seen {
			return errors.New(`"apps" is there twice`)
		}
		seen = true
		if err := decodeList(d, raw, each); err != nil {
			return err
		}
	}
	if err := expectDelim(d, '}'); err != nil {
		return err
	}
	if !seen {
		return errors.New(`the document has no "apps": is the URL that of Marathon?`)
	}
	return expectEnd(d)
}

func decodeList(d *json.Decoder, raw func(app []byte), each func(decoded) error) error {
	if err := expectDelim(d, '['); err != nil {
		return err
	}
	for d.More() {
		one := d
		if raw != nil {
			var text json.RawMessage
			if err := d.Decode(&text); err != nil {
				return err
			}
			raw(text)
			one = json.NewDecoder(bytes.NewReader(text))
		}
		app, err := decodeApp(one)
		if err != nil {
			return err
		}
		if err := each(app); err != nil {
			return err
		}
	}
	return expectDelim(d, ']')
}

func decodeApp(d *json.Decoder) (decoded, error) {
	var one decoded
	err := d.Decode(&one.app)
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		one.mismatch, err = fmt.Sprintf("%s is a %s", mismatch.Field, mismatch.Value), nil
	}
	if err != nil {
		return decoded{}, err
	}
	if one.app.ID != "" && !strings.HasPrefix(one.app.ID, "/") {
		one.app.ID = "/" + one.app.ID
	}
	return one, nil
}

// decodeOneApp reads {"app":{…}} to its very end.
func decodeOneApp(r io.Reader) (decoded, error) {
	var app decoded
	d := json.NewDecoder(r)
	if err := expectDelim(d, '{'); err != nil {
		return app, err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return app, err
		}
		if key != "app" {
			err = skipValue(d)
		} else {
			app, err = decodeApp(d)
		}
		if err != nil {
			return app, err
		}
	}
	if err := expectDelim(d, '}'); err != nil {
		return app, err
	}
	if app.app.ID == "" {
		return app, errors.New(`the document has no "app" with an id`)
	}
	app.single = true
	return app, expectEnd(d)
}

// decodeDefinition reads {…}, the definition of an app, to its very end.
func decodeDefinition(r io.Reader) (decoded, error) {
	d := json.NewDecoder(r)
	app, err := decodeApp(d)
	if err == nil && app.app.ID == "" {
		err = errors.New("the document is no definition with an id")
	}
	if err != nil {
		return app, err
	}
	return app, expectEnd(d)
}

func skipValue(d *json.Decoder) error {
	var ignored json.RawMessage
	return d.Decode(&ignored)
}

func expectDelim(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err != nil {
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	if t != want {
		return fmt.Errorf("found %T where %q was expected", t, want)
	}
	return nil
}

func expectEnd(d *json.Decoder) error {
	if _, err := d.Token(); err != io.EOF {
		return errors.New("there is more after the end of the document")
	}
	return nil
}

// parseTime reads Marathon's times; false when there is none.
func parseTime(s string) (time.Time, bool) {
	if len(s) > sources.MaxNameBytes { // the error would repeat it
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, s)
	return t, err == nil
}
