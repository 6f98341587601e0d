package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"vtepd/ctl"
	"vtepd/ctl/config"
	"vtepd/ctl/model"
	"vtepd/dataplane"
)

// Exit codes.
const (
	ExitClean    = 0 // clean stop
	ExitBad      = 1 // bad configuration or environment
	ExitInternal = 2 // internal failure
)

// stopTimeout bounds how long a stop waits for requests under way.
const stopTimeout = 3 * time.Second

// dataPlane is what the daemon needs of a switch beside what ctl does.
type dataPlane interface {
	ctl.Switch
	// ClearTheWay removes what a former process left where an interface of the ports goes. It is called before the first port comes.
	ClearTheWay(ports []dataplane.PortConfig)
	// RemoveLeftPairs removes what a former process left that none of the ports takes up. It is called when all are there, and with none when a start is given up.
	RemoveLeftPairs(ports []dataplane.PortConfig)
	// TakeOver has the fast path go on from where a former process was killed, and the underlay read. It is called when the first configuration is complete.
	TakeOver() error
	// Abandon is Close before TakeOver: what a former process left is left for the next one.
	Abandon() error
	Close() error
}

var _ dataPlane = (*dataplane.Switch)(nil)

// Process is one run of vtepd.
type Process struct {
	Stdout, Stderr io.Writer

	// newSwitch makes the data plane; tests put another in its place.
	newSwitch func(dataplane.Config) (dataPlane, error)
	// reloads brings SIGHUP, stops SIGTERM and SIGINT; tests send their own. They are apart because a channel that is full loses signals: of many
	// reloads one is enough, but a stop must not be lost among them.
	reloads, stops chan os.Signal
	// exit ends the process at once, when a stop is asked for again.
	exit func(code int)
	// beat is how often the service manager hears that a long change goes on; tests have less patience.
	beat time.Duration
}

// internalError is a failure that no operator can mend.
type internalError struct{ error }

// Main runs vtepd with a command line, without the program's name, until it is stopped, and returns the exit code.
func Main(args []string) int {
	p := &Process{
		Stdout: os.Stdout, Stderr: os.Stderr,
		newSwitch: func(c dataplane.Config) (dataPlane, error) { return dataplane.New(c) },
		reloads:   make(chan os.Signal, 1),
		stops:     make(chan os.Signal, 2),
		exit:      os.Exit,
		beat:      10 * time.Second,
	}
	// Without it a log line that nobody reads any more ends the process (package os/signal, SIGPIPE).
	signal.Ignore(syscall.SIGPIPE)
	signal.Notify(p.reloads, syscall.SIGHUP)
	signal.Notify(p.stops, syscall.SIGTERM, os.Interrupt)
	return p.Run(args)
}

// Run is Main for a Process.
func (p *Process) Run(args []string) int {
	err := p.run(args)
	var internal internalError
	switch {
	case err == nil:
		return ExitClean
	case errors.As(err, &internal):
		p.complain(err)
		return ExitInternal
	}
	p.complain(err)
	return ExitBad
}

// complain prints the one line that says what is wrong and how to mend it.
func (p *Process) complain(err error) {
	fmt.Fprintf(p.Stderr, "vtepd: %s\n", strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }), " "))
}

func (p *Process) run(args []string) error {
	s, err := parseFlags(args)
	switch {
	case err != nil:
		return err
	case s.help:
		fmt.Fprint(p.Stdout, helpText)
		return nil
	case s.version:
		fmt.Fprintf(p.Stdout, "vtepd %s\n", ctl.Version)
		return nil
	}
	d := &running{Process: p, settings: s, log: newLogger(p.Stderr, s)}
	defer d.heedStops()()
	m, source := s.quick, "the command line"
	var file *config.File
	if s.config != "" {
		if file, err = config.Load(d.life, s.config); err != nil {
			return d.unread(err)
		}
		if s.socket == "" {
			if err := config.CheckSocket(file.Model.Global.Socket); err != nil {
				return located(file, err)
			}
		}
		if s.check {
			fmt.Fprintf(p.Stdout, "%s: ok\n", s.config)
			return nil
		}
		m, source = file.Model, s.config
	}
	if err := resolve(m, file); err != nil {
		return err
	}
	socket := m.Global.Socket
	if s.socket != "" {
		socket = s.socket
	}
	return located(file, d.serve(m, source, socket))
}

// located says where in the file, if there is one, stands what an error is about.
func located(file *config.File, err error) error {
	var e *model.Error
	var c *dataplane.ConfigError
	if file == nil || !errors.As(err, &e) && !errors.As(err, &c) {
		return err
	}
	return file.Locate(err)
}

// atSocket says that an error is about the control socket, where the file has a say in that.
func (d *running) atSocket(err error) error {
	if d.settings.socket != "" {
		return err
	}
	return &model.Error{Path: "socket", Msg: err.Error(), Kind: err}
}

// resolve fills in the underlay address where an interface names it, and checks what could not be checked without it.
func resolve(m *model.Model, file *config.File) error {
	if m.Global.Interface == "" {
		return nil
	}
	a, err := ctl.FirstAddress(m.Global.Interface)
	if err != nil {
		return located(file, model.Invalid("interface", "%v", err))
	}
	m.Global.Local = a
	if file != nil {
		return file.Check()
	}
	return m.Check()
}

func newLogger(w io.Writer, s *settings) *slog.Logger {
	var level slog.Level
	// The words were checked with the command line.
	_ = level.UnmarshalText([]byte(s.logLevel))
	o := &slog.HandlerOptions{Level: level}
	if s.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// running is a vtepd that has a switch.
type running struct {
	*Process
	settings *settings
	log      *slog.Logger
	control  *ctl.Controller
	// life is done when a signal asks for the stop, with a stopAsked as its cause.
	life context.Context
	// served is the path of the control socket once it is there.
	served atomic.Pointer[string]
}

// serve runs the switch until a signal or a failure, and leaves nothing behind but what a former process left where the ports or the control socket cannot be had.
func (d *running) serve(m *model.Model, source, socketPath string) (err error) {
	socket, err := claim(d.life, socketPath, d.log)
	if stoppedBy(err) {
		d.sayStopping(context.Cause(d.life).Error())
		return nil
	}
	if err != nil {
		return d.atSocket(err)
	}
	defer socket.Close()

	c := m.SwitchConfig()
	c.Log, c.PinDir, c.Instance, c.HoldUnderlay = d.log, pinDir(socketPath), socketPath, true
	sw, err := d.newSwitch(c)
	if err != nil {
		return err
	}
	// Closing twice is not asked of the switch: every way out passes here once.
	end := sw.Close
	defer func() {
		if cerr := end(); cerr != nil && err == nil {
			err = internalError{fmt.Errorf("stop: %w", cerr)}
		}
	}()
	ports := make([]dataplane.PortConfig, 0, m.Ports.Len())
	for name := range m.Ports.Keys() {
		ports = append(ports, m.PortConfig(name))
	}
	sw.ClearTheWay(ports)
	if err := d.bring(sw, m); err != nil {
		if errors.Is(err, ctl.ErrStopping) {
			return d.giveUpStart(sw)
		}
		end = sw.Abandon // whoever mends the file starts again, and traffic goes on until then
		return err
	}
	// What may still be refused comes before the takeover, of which there is no way back: whoever connects from here on waits for the answer until that is done.
	if err := socket.bind(); err != nil {
		end = sw.Abandon
		return d.atSocket(err)
	}
	d.served.Store(&socketPath)
	sw.RemoveLeftPairs(ports)
	d.control.SocketByOption = d.settings.socket != ""
	if err := sw.TakeOver(); err != nil {
		return internalError{fmt.Errorf("fast path: %w", err)}
	}
	server := ctl.NewServer(d.control, d.log)
	failed := make(chan error, 1)
	go func() {
		if err := server.Serve(socket.Listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- internalError{fmt.Errorf("control API: %w", err)}
		}
	}()
	st := sw.Status()
	d.log.Info("started", "version", ctl.Version, "config", source, "local", m.Global.LocalsText(), "dstport", m.Global.DstPort, "socket", socketPath,
		"workers", st.Workers, "vnis", len(m.Declared()), "ports", m.Ports.Len(), "offload", offloadText(st), "fastpath", st.FastPath.Active)
	d.notify(daemon.SdNotifyReady)
	stopWatchdog := d.watchdog()
	defer stopWatchdog()

	reason, err := d.wait(failed)
	d.sayStopping(reason)
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	// Event streams never end by themselves: what is idle is closed at once, what is not when the time is up.
	go func() {
		<-time.After(stopTimeout / 30)
		server.Close()
	}()
	_ = server.Shutdown(ctx)
	d.askForStop()
	return err
}

// bring brings an empty switch to the configuration.
func (d *running) bring(sw ctl.Switch, m *model.Model) error {
	d.control = ctl.Prepare(d.life, sw, m, d.log)
	defer d.tellProgress()()
	return d.control.Start()
}

func offloadText(st dataplane.Status) string {
	var on []string
	for _, o := range st.Offload {
		if o.On {
			on = append(on, o.Name)
		}
	}
	if len(on) == 0 {
		return "none"
	}
	return strings.Join(on, ",")
}

// wait serves signals until one ends the process, or something fails.
func (d *running) wait(failed <-chan error) (reason string, err error) {
	for {
		select {
		case err := <-failed:
			return "failure", err
		case <-d.life.Done():
			return context.Cause(d.life).Error(), nil
		case <-d.reloads:
			d.reload()
		}
	}
}

// reload reads the file again. Whatever is wrong with it, the switch goes on as it was; what the host refuses and does not take back, either, is told.
func (d *running) reload() {
	if d.settings.config == "" {
		d.log.Warn("reload refused", "reason", "there is no file: vtepd was started with options; use vtepctl")
		return
	}
	d.notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
	defer d.notify(daemon.SdNotifyReady)
	defer d.tellProgress()()
	file, err := config.Load(d.life, d.settings.config)
	if err == nil {
		err = d.keepLocal(file)
	}
	var ops []string
	left := false
	if err == nil {
		if ops, err = d.control.Reload(file.Model); err != nil && !stoppedBy(err) {
			left = errors.Is(err, ctl.ErrNotUndone)
			err = file.Locate(err)
		}
	}
	if stoppedBy(err) {
		return
	}
	if left {
		d.log.Error("reload failed, and not all of it could be undone", "reason", err)
		return
	}
	if err != nil {
		d.log.Error("reload refused, nothing changed", "reason", err)
		return
	}
	d.log.Info("reloaded", "config", d.settings.config, "result", ctl.Summary(ops))
}

// keepLocal fills in the underlay address of a file read again: the running one, while the interface that it was taken from is the same.
func (d *running) keepLocal(file *config.File) error {
	now := d.control.Model().Global
	if file.Model.Global.Interface != "" && file.Model.Global.Interface == now.Interface {
		file.Model.Global.Local = now.Local
		return file.Check()
	}
	return resolve(file.Model, file)
}
