package daemon

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"vtepd/ctl/config"
	"vtepd/ctl/model"
	"vtepd/dataplane"
)

const helpText = `vtepd - a VXLAN tunnel endpoint and learning switch in user space

usage: vtepd --config FILE [--check]
       vtepd --local IP... --vni N [--peer IP]... [--tap NAME]...

Joins the TAP devices of this host to the same Ethernet segments on other hosts, over VXLAN (RFC 7348).
vtepctl looks at and changes a running vtepd.

With a file:
  --config FILE          read the configuration from FILE; SIGHUP reads it again
  --check                read and verify FILE, then exit

Quick start, without a file:
  --local IP             underlay address of this host; once more for the other address family
  --interface IF         or: take the first address of this interface
  --vni N                the VNI that peers and TAPs are in
  --peer IP[:PORT]       another VTEP; may be given several times
  --tap NAME             TAP device to make; may be given several times
  --mtu N                MTU of the TAPs (default: what the underlay leaves)
  --address IP/LEN       address of the TAP; may be given several times
  --netns NAME           move the TAPs into this network namespace
  --dstport PORT         UDP port to send to and listen on (default 4789)
  --ageing DURATION      ageing of the forwarding table, 0 is never (default 300s)
  --peer-policy POLICY   strict: only peers may send; learn: any source may (default strict)
  --workers N            worker threads, 0 is one a CPU (default 0)
  --offload MODE         off or auto: GSO and GRO on TAPs and underlay (default auto)
  --fastpath MODE        off, auto or on: eBPF programs carry known traffic; on refuses to start without them (default auto)

Always:
  --socket PATH          where the control API listens (default ` + model.DefaultSocket + `)
  --log-level LEVEL      debug, info, warn or error (default info)
  --log-format FORMAT    text or json (default text)
  --version              print the version
  -h, --help             print this

Exit codes: 0 clean stop, 1 bad configuration or environment, 2 internal failure.

Examples:
  vtepd --local 192.0.2.1 --vni 42 --peer 192.0.2.2 --tap vtep0 --address 198.51.100.1/24
  vtepd --config /etc/vtepd/vtepd.yaml --check
  vtepd --config /etc/vtepd/vtepd.yaml
`

// settings is a command line that has been understood.
type settings struct {
	help, version, check bool
	config               string
	socket               string // overrides the file's; empty when not given
	logLevel, logFormat  string

	// quick is the model of a command line without a file; nil with one.
	quick *model.Model
}

// parseFlags reads a command line without the program's name.
func parseFlags(args []string) (*settings, error) {
	s := &settings{}
	f := pflag.NewFlagSet("vtepd", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	f.BoolVarP(&s.help, "help", "h", false, "")
	f.BoolVar(&s.version, "version", false, "")
	f.BoolVar(&s.check, "check", false, "")
	f.StringVar(&s.config, "config", "", "")
	f.StringVar(&s.socket, "socket", "", "")
	f.StringVar(&s.logLevel, "log-level", "info", "")
	f.StringVar(&s.logFormat, "log-format", "text", "")
	q := quickFlags{}
	q.define(f)
	onceEach(f)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			s.help = true
			return s, nil
		}
		var names []string
		f.VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		hint := ""
		for _, a := range args {
			if name, _, _ := strings.Cut(a, "="); strings.HasPrefix(name, "--") && f.Lookup(name[2:]) == nil {
				hint = model.DidYouMean(name, names)
				break
			}
		}
		return nil, fmt.Errorf("%v%s: see vtepd --help", err, hint)
	}
	if s.help || s.version {
		return s, nil
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%.64q is no option: see vtepd --help", f.Arg(0))
	}
	if _, err := model.ParseWord(s.logLevel, "debug", "info", "warn", "error"); err != nil {
		return nil, fmt.Errorf("--log-level: %w", err)
	}
	if _, err := model.ParseWord(s.logFormat, "text", "json"); err != nil {
		return nil, fmt.Errorf("--log-format: %w", err)
	}
	if f.Changed("socket") {
		path, err := config.ParseSocket(s.socket)
		if err != nil {
			return nil, fmt.Errorf("--socket: %w", err)
		}
		s.socket = path
	}
	given := q.given(f)
	for _, name := range given {
		if isEmpty(f.Lookup(name).Value) {
			return nil, fmt.Errorf("--%s is empty: write a value, or leave the option away", name)
		}
	}
	switch {
	case f.Changed("config") && s.config == "":
		return nil, errors.New("--config is empty: name a file")
	case s.config != "" && len(given) > 0:
		return nil, fmt.Errorf("--%s is for a start without a file: write it into %s", given[0], s.config)
	case s.config != "":
		return s, nil
	case s.check:
		return nil, errors.New("--check needs a file to verify: add --config FILE")
	case len(given) == 0:
		return nil, errors.New("nothing to do: give --config FILE, or --local IP to start without a file (see vtepd --help)")
	}
	var err error
	s.quick, err = q.model()
	return s, err
}

// once refuses an option that is given a second time.
type once struct {
	pflag.Value
	given bool
}

func (o *once) Set(text string) error {
	if o.given {
		return errors.New("given twice")
	}
	o.given = true
	return o.Value.Set(text)
}

// isEmpty says whether an option was given an empty text, as a script does whose variable is not set. An option that is not given has none either.
func isEmpty(v pflag.Value) bool {
	if list, ok := v.(pflag.SliceValue); ok {
		return slices.Contains(list.GetSlice(), "")
	}
	return v.String() == ""
}

// onceEach lets every option be given once, but for those that gather a list.
func onceEach(f *pflag.FlagSet) {
	f.VisitAll(func(option *pflag.Flag) {
		if _, list := option.Value.(pflag.SliceValue); !list {
			option.Value = &once{Value: option.Value}
		}
	})
}

// quickFlags are the options of a start without a file.
type quickFlags struct {
	iface, vni, mtu, netns, dstport            string
	ageing, policy, workers, offload, fastpath string
	locals, peers, taps, addresses             []string
}

var quickNames = []string{
	"local", "interface", "vni", "peer", "tap", "mtu", "address", "netns", "dstport", "ageing", "peer-policy", "workers", "offload", "fastpath",
}

func (q *quickFlags) define(f *pflag.FlagSet) {
	f.StringArrayVar(&q.locals, "local", nil, "")
	f.StringVar(&q.iface, "interface", "", "")
	f.StringVar(&q.vni, "vni", "", "")
	f.StringArrayVar(&q.peers, "peer", nil, "")
	f.StringArrayVar(&q.taps, "tap", nil, "")
	f.StringVar(&q.mtu, "mtu", "", "")
	f.StringArrayVar(&q.addresses, "address", nil, "")
	f.StringVar(&q.netns, "netns", "", "")
	f.StringVar(&q.dstport, "dstport", "", "")
	f.StringVar(&q.ageing, "ageing", "", "")
	f.StringVar(&q.policy, "peer-policy", "", "")
	f.StringVar(&q.workers, "workers", "", "")
	f.StringVar(&q.offload, "offload", "", "")
	f.StringVar(&q.fastpath, "fastpath", "", "")
}

// given lists the quick-start options on the command line, in the order of the help text.
func (q *quickFlags) given(f *pflag.FlagSet) []string {
	return slices.DeleteFunc(slices.Clone(quickNames), func(name string) bool { return !f.Changed(name) })
}

// flagValue reads the value of an option that was given.
func flagValue[T any](errs *error, name, text string, parse func(string) (T, error), into *T) {
	if text == "" || *errs != nil {
		return
	}
	v, err := parse(text)
	if err != nil {
		*errs = valueError(name, text, err)
		return
	}
	*into = v
}

// valueError says of which option a value is wrong, and how to write a list of them for an option that may be given several times.
func valueError(name, text string, err error) error {
	if first, rest, list := strings.Cut(text, ","); list && slices.Contains([]string{"local", "peer", "address"}, name) {
		second, _, _ := strings.Cut(rest, ",")
		return fmt.Errorf("--%s: %.64q is a list: give the option once for each, as in --%s %.40s --%s %.40s", name, text, name, first, name, second)
	}
	return fmt.Errorf("--%s: %w", name, err)
}

// model declares as it goes: the VNI, its peers, and the TAPs in it.
func (q *quickFlags) model() (*model.Model, error) {
	m := model.New()
	port, err := q.parse(&m.Global)
	if err == nil {
		err = q.check(&port)
	}
	if err == nil {
		err = q.addVNI(m, port.VNI)
	}
	if err == nil {
		err = q.addTAPs(m, port)
	}
	if err != nil {
		return nil, err
	}
	m.Normalize()
	return m, m.Check()
}

// parse reads what is set once, and gives what all TAPs have in common.
func (q *quickFlags) parse(g *model.Global) (port model.Port, err error) {
	port.Type = dataplane.PortTAP
	flagValue(&err, "interface", q.iface, model.ParsePortName, &g.Interface)
	flagValue(&err, "dstport", q.dstport, model.ParsePort, &g.DstPort)
	flagValue(&err, "fastpath", q.fastpath, model.ParseFastPath, &g.FastPath)
	flagValue(&err, "workers", q.workers, model.ParseWorkers, &g.Workers)
	flagValue(&err, "vni", q.vni, model.ParseVNI, &port.VNI)
	flagValue(&err, "mtu", q.mtu, model.ParseMTU, &port.MTU)
	flagValue(&err, "netns", q.netns, model.ParseNetNS, &port.NetNS)
	if q.offload != "" && err == nil {
		o, oerr := config.ParseOffload(q.offload)
		if oerr != nil {
			err = fmt.Errorf("--offload: %w", oerr)
		}
		g.Offload = bool(o)
	}
	for _, set := range []struct{ name, text string }{{"ageing", q.ageing}, {"peer-policy", q.policy}} {
		if set.text != "" && err == nil {
			if perr := model.SettingByName(set.name).Parse(&g.Settings, set.text); perr != nil {
				err = fmt.Errorf("--%s: %w", set.name, perr)
			}
		}
	}
	if len(q.locals) > 0 && err == nil {
		locals := make([]netip.Addr, len(q.locals))
		for i, text := range q.locals {
			flagValue(&err, "local", text, model.ParseAddr, &locals[i])
		}
		if err == nil {
			if lerr := g.SetLocals(locals); lerr != nil {
				err = fmt.Errorf("--local: %w", lerr)
			}
		}
	}
	return port, err
}

// check holds the flags against each other.
func (q *quickFlags) check(port *model.Port) error {
	switch {
	case len(q.locals) > 0 && q.iface != "":
		return errors.New("--local and --interface exclude each other: keep one")
	case len(q.locals) == 0 && q.iface == "":
		return errors.New("the underlay address is missing: give --local IP or --interface IF")
	case port.VNI == 0 && len(q.peers) > 0:
		return errors.New("--peer needs the VNI that it is in: add --vni N")
	case port.VNI == 0 && len(q.taps) > 0:
		return errors.New("--tap needs the VNI that it is in: add --vni N")
	case len(q.taps) == 0 && (port.MTU != 0 || port.NetNS != "" || len(q.addresses) > 0):
		return errors.New("--mtu, --netns and --address are for a TAP: add --tap NAME")
	case len(q.taps) > 1 && len(q.addresses) > 0:
		return fmt.Errorf("--address cannot tell which of %d TAPs it is for: use a file, or vtepctl port set NAME address IP/LEN", len(q.taps))
	}
	return nil
}

// addVNI adds the VNI, if one was given, with all peers.
func (q *quickFlags) addVNI(m *model.Model, vni uint32) error {
	if vni == 0 {
		return nil
	}
	v := &model.VNI{}
	for _, text := range q.peers {
		p, err := model.ParsePeer(text)
		if err != nil {
			return valueError("peer", text, err)
		}
		v.Peers = append(v.Peers, m.Endpoint(p))
	}
	m.VNIs.Put(vni, v)
	return nil
}

// addTAPs adds ports that are like port but for their names.
func (q *quickFlags) addTAPs(m *model.Model, port model.Port) error {
	for _, text := range q.addresses {
		a, err := model.ParseInterfaceAddr(text)
		if err != nil {
			return valueError("address", text, err)
		}
		port.Addresses = append(port.Addresses, a)
	}
	for _, name := range q.taps {
		if _, err := model.ParsePortName(name); err != nil {
			return fmt.Errorf("--tap: %w", err)
		}
		if m.Ports.Has(name) {
			return fmt.Errorf("--tap %s is given twice: leave one away", name)
		}
		p := port
		m.Ports.Put(name, &p)
	}
	return nil
}
