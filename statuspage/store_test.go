package statuspage

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// The variables that make a process of this test another one, and name the folder that it uses.
const (
	writerDir = "STATUSPAGE_TEST_WRITER"
	fullDir   = "STATUSPAGE_TEST_FULL"
)

// stored is a Monitor with a folder, which looks only when it is told to.
func stored(dir string) *Monitor {
	settings, err := ParseSettings([]byte(oneService))
	if err != nil {
		panic(err)
	}
	return New(Config{Settings: settings, Dir: dir, Log: quiet})
}

// writeUntilKilled opens and closes incidents, and says which ones are saved.
func writeUntilKilled(dir string) {
	m := stored(dir)
	for i := 0; ; i++ {
		done, err := m.Open(Draft{Title: fmt.Sprint("Number ", i), Text: strings.Repeat("long ", 200)})
		if err != nil || done.Unsaved != "" {
			panic(fmt.Sprint(err, done.Unsaved))
		}
		fmt.Println(done.Incident.ID)
		if _, err := m.Close(done.Incident.ID, "Over."); err != nil {
			panic(err)
		}
	}
}

// A process that is killed at any moment loses nothing that it has answered for.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var ids []string
	for round := range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), writerDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n, most := 0, rand.IntN(12); lines.Scan(); n++ {
			ids = append(ids, lines.Text())
			if n == most {
				time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
			}
		}
		_ = cmd.Wait() // it was killed
		m := stored(dir)
		if err := m.save(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		// A machine on which the kill comes late has more than are kept.
		for _, id := range ids[max(0, len(ids)-(maxIncidents-2*maxLasting)):] {
			if _, ok := m.incidents[id]; !ok {
				t.Fatalf("round %d: incident %s is lost, of %d", round, id, len(ids))
			}
		}
		m.close()
	}
	if _, err := os.Stat(filepath.Join(dir, storeName+damagedSuffix)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was set aside: %v", err)
	}
	if len(ids) < 20 {
		t.Errorf("only %d incidents", len(ids))
	}
}

// A second process says that the first one has the file, goes on without, and takes it when the first one is gone.
func TestOneProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := stored(dir), stored(dir)
	kept, err := first.Open(Draft{Title: "First", Text: "Of the first."})
	if err != nil || kept.Unsaved != "" {
		t.Fatal(err, kept.Unsaved)
	}
	done, err := second.Open(Draft{Title: "Second", Text: "Of the second."})
	if err != nil || !strings.Contains(done.Unsaved, "another process uses it") || !strings.Contains(done.Unsaved, storeName) {
		t.Fatalf("%v, %q", err, done.Unsaved)
	}
	first.close()
	if err := second.save(); err != nil || len(second.Incidents()) != 2 {
		t.Errorf("%v, %d incidents", err, len(second.Incidents()))
	}
	second.close()
}

// damages are what may have become of the file.
func damages(t *testing.T, whole []byte) map[string][]byte {
	all := map[string][]byte{
		"text": []byte("no database\n"), "zeros": make([]byte, len(whole)), "short": whole[:100], "no pages": whole[:8192], "random half": whole[:len(whole)/2], "one byte": {0},
		"longer": append(append([]byte{}, whole...), make([]byte, 5000)...),
	}
	foreign := filepath.Join(t.TempDir(), "foreign.db")
	for name, fill := range map[string]func(*bbolt.Tx) error{
		"foreign": func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("users")); return err },
		"newer": func(tx *bbolt.Tx) error {
			if err := begin(tx); err != nil {
				return err
			}
			return tx.Bucket(aboutBucket).Put(formatKey, []byte("relay-statuspage 2"))
		},
	} {
		db, err := bbolt.Open(foreign, 0o600, nil)
		if err == nil {
			err = errors.Join(db.Update(fill), db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		all[name], _ = os.ReadFile(foreign)
		_ = os.Remove(foreign)
	}
	r := rand.New(rand.NewPCG(7, 7))
	for i := range 100 {
		cut := append([]byte{}, whole...)
		if i%2 == 0 {
			for range 1 + r.IntN(40) {
				cut[r.IntN(len(cut))] ^= byte(1 << r.IntN(8))
			}
		} else {
			cut = cut[:r.IntN(len(cut))]
		}
		all[fmt.Sprint("random ", i)] = cut
	}
	return all
}

// A file that is damaged or of something else is set aside, and a new one begins. Nothing ends the process.
func TestDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, storeName)
	m := stored(dir)
	for i := range 40 {
		if _, err := m.Open(Draft{Title: fmt.Sprint("Number ", i), Text: strings.Repeat("text ", 300)}); err != nil {
			t.Fatal(err)
		}
	}
	m.records["a"].add(Up, noon.AddDate(0, 0, -80), noon)
	m.close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range damages(t, whole) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(path + damagedSuffix)
		log, lines := newLog()
		m := stored(dir)
		m.cfg.Log = log
		if err := m.save(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		done, err := m.Open(Draft{Title: "After", Text: "After the damage."})
		if err != nil && !errors.Is(err, ErrTooMany) || done.Unsaved != "" {
			t.Errorf("%s: %v %s", name, err, done.Unsaved)
		}
		m.look(time.Now())
		m.close()
		_, aside := os.Stat(path + damagedSuffix)
		if said := len(lines.Lines("event=history_damaged")); (aside == nil) != (said > 0) {
			t.Errorf("%s: set aside: %v, said %d times", name, aside, said)
		}
		if !strings.HasPrefix(name, "random") && name != "longer" && aside != nil {
			t.Errorf("%s: not set aside: %v", name, aside)
		}
	}
}

// A file that somebody cuts short while it is in use is a fault to read. All of it is in memory, and is written anew.
func TestCutWhileInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := stored(dir)
	for i := range 30 {
		if _, err := m.Open(Draft{Title: fmt.Sprint("Number ", i), Text: strings.Repeat("text ", 300)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, storeName), 8192); err != nil {
		t.Fatal(err)
	}
	if done, err := m.Open(Draft{Title: "After", Text: "It was cut."}); err != nil || done.Unsaved != "" {
		t.Fatalf("%v, unsaved %q", err, done.Unsaved)
	}
	if _, err := os.Stat(filepath.Join(dir, storeName+damagedSuffix)); err != nil {
		t.Errorf("the file was not found to be damaged: %v", err)
	}
	m.close()
	again := stored(dir)
	if err := again.save(); err != nil || len(again.Incidents()) != 31 {
		t.Errorf("%v, %d incidents of 31", err, len(again.Incidents()))
	}
	again.close()
}

// TestFullDisk runs itself with a small file system of its own.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fullDir+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// fillDisk is the process of TestFullDisk. It panics where something is not as it has to be.
func fillDisk(dir string) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	must(syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""))
	must(syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	m := stored(filepath.Join(dir, "state"))
	first, err := m.Open(Draft{Title: "First", Text: "The disk has room."})
	must(err)
	if first.Unsaved != "" {
		panic(first.Unsaved)
	}
	filler, err := os.Create(filepath.Join(dir, "filler"))
	must(err)
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	opened, unsaved := 1, 0
	for range maxLasting - 1 {
		done, err := m.Open(Draft{Title: "Another", Text: strings.Repeat("long ", 400)})
		must(err)
		opened++
		if done.Unsaved != "" {
			unsaved++
		}
	}
	if unsaved == 0 || len(m.View().Incidents) != opened {
		panic(fmt.Sprint(unsaved, " of ", opened, " are not saved, the page has ", len(m.View().Incidents)))
	}
	must(filler.Truncate(0))
	must(m.save())
	m.close()
	again := stored(filepath.Join(dir, "state"))
	must(again.save())
	if len(again.Incidents()) != opened {
		panic(fmt.Sprint(len(again.Incidents()), " of ", opened, " after the disk was full"))
	}
	again.close()
}

// 100 services of 100 days, each saved a thousand times, take little room, and little time to write and to read.
func TestSizeOfTheFile(t *testing.T) {
	t.Parallel()
	text := "services:\n"
	for i := range maxServices {
		text += fmt.Sprintf("  - {name: \"service %d\", domains: [a.test]}\n", i)
	}
	cfg := Config{Settings: parsed(t, text), Dir: t.TempDir(), Log: quiet}
	m := New(cfg)
	for i := range keptDays {
		at := noon.AddDate(0, 0, i-keptDays)
		for name, r := range m.records {
			r.State = Degraded
			r.add(Up, at, at.Add(time.Hour+12*time.Millisecond))
			r.add(Down, at, at.Add(time.Hour+345*time.Millisecond))
			r.add(Degraded, at, at.Add(time.Hour+678*time.Millisecond))
			m.changedServices[name] = true
		}
		if i%5 == 0 {
			if err := m.save(); err != nil {
				t.Fatal(err)
			}
		}
	}
	begin := time.Now()
	if err := m.save(); err != nil {
		t.Fatal(err)
	}
	wrote := time.Since(begin)
	m.close()
	info, err := os.Stat(filepath.Join(cfg.Dir, storeName))
	if err != nil || info.Size() > 2<<20 {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	begin = time.Now()
	again := New(cfg)
	if err := again.save(); err != nil || len(again.records["service 99"].Days) != keptDays {
		t.Errorf("%d days, %v", len(again.records["service 99"].Days), err)
	}
	t.Logf("%d bytes, written in %s, opened and read in %s", info.Size(), wrote, time.Since(begin))
	again.close()
}

// A file that says of itself that it is larger than it may be is damaged: all is in memory, and a new one begins.
func TestFileThatIsTooLarge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.db.MaxSize = 1
	m := stored(dir)
	m.store, m.loaded = s, true
	if done, err := m.Open(Draft{Title: "Large", Text: strings.Repeat("long ", 300)}); err != nil || done.Unsaved != "" {
		t.Errorf("%v, unsaved: %s", err, done.Unsaved)
	}
	for range 60 {
		if done, err := m.Open(Draft{Title: "Large", Text: strings.Repeat("long ", 390)}); err != nil && !errors.Is(err, ErrTooMany) || done.Unsaved != "" {
			t.Fatalf("%v, unsaved: %s", err, done.Unsaved)
		}
	}
	m.close()
	if _, err := os.Stat(filepath.Join(dir, storeName+damagedSuffix)); err != nil {
		t.Errorf("it is not set aside: %v", err)
	}
}
