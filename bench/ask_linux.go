package bench

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"vtepd/bench/lab"
)

// The first argument of a program that shall be one end of a dialogue between services: see Serve. Each end is a process of its own, because inside one
// process a scheduler that is awake already would serve both.
const (
	EchoCommand = "echo" // ADDRESS: answer UDP and TCP there
	AskCommand  = "ask"  // udp|tcp|crr ADDRESS:PORT FLOWS DURATION: send requests and print an Answers
)

const (
	// askTimeout is when a request that got no answer counts as lost.
	askTimeout = 200 * time.Millisecond
	// streamTimeout is the same on a stream, where nothing gets lost: it leaves TCP the time to send again (200 ms and more).
	streamTimeout = 5 * time.Second
)

// connectRequest is the network of a dialogue over TCP in which each request has a connection of its own.
const connectRequest = "crr"

var errAsk = errors.New("round trips")

// Answers is what a dialogue came to.
type Answers struct {
	P50, P99       float64 // microseconds
	PerSecond      float64 // answered
	Answered, Lost int
}

// IsService says whether the arguments of the program, without its name, are for Serve.
func IsService(args []string) bool {
	return len(args) == 2 && args[0] == EchoCommand || len(args) == 5 && args[0] == AskCommand
}

// Serve is one end of a dialogue, as most services are written: sockets that never block, whose owner sleeps in epoll_wait until the kernel says that there is something
// to read. Package net works so. The end that answers does it until it is killed.
func Serve(args []string, out io.Writer) error {
	if args[0] == EchoCommand {
		return echo(args[1], out)
	}
	flows, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(args[4])
	if err != nil {
		return err
	}
	answers, err := ask(args[1], args[2], flows, d)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(answers)
}

// echo answers datagrams, and 64 bytes at a time on connections, at one port for both, which it prints first.
func echo(address string, out io.Writer) error {
	packets, err := net.ListenPacket("udp", net.JoinHostPort(address, "0"))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", packets.LocalAddr().String())
	if err != nil {
		return err
	}
	fmt.Fprintln(out, packets.LocalAddr())
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for buf := make([]byte, loadPayload); ; {
					if _, err := io.ReadFull(conn, buf); err != nil {
						return
					}
					if _, err := conn.Write(buf); err != nil {
						return
					}
				}
			}()
		}
	}()
	buf := make([]byte, 2048)
	for {
		n, peer, err := packets.ReadFrom(buf)
		if err != nil {
			return err
		}
		_, _ = packets.WriteTo(buf[:n], peer) // a lost answer is counted by who waits for it
	}
}

// ask keeps one request of 64 bytes in flight on each of so many sockets, for d.
func ask(network, address string, flows int, d time.Duration) (Answers, error) {
	conns := make([]net.Conn, flows)
	for i := range conns {
		if network == connectRequest {
			continue // it makes its own
		}
		var err error
		if conns[i], err = net.Dial(network, address); err != nil {
			return Answers{}, err
		}
		defer conns[i].Close()
	}
	micros, lost, errs := make([][]float64, flows), make([]int, flows), make([]error, flows)
	var all sync.WaitGroup
	start := time.Now()
	end := start.Add(d)
	for i, conn := range conns {
		all.Go(func() {
			if network == connectRequest {
				micros[i], errs[i] = connections(address, end)
				return
			}
			micros[i], lost[i], errs[i] = dialogue(conn, network == "tcp", end)
		})
	}
	all.Wait()
	// The last ones end after the time is up: one that takes a second, because its SYN was lost, has to count.
	took := time.Since(start)
	times := slices.Concat(micros...)
	slices.Sort(times)
	a := Answers{Answered: len(times), PerSecond: float64(len(times)) / took.Seconds()}
	for _, n := range lost {
		a.Lost += n
	}
	if err := errors.Join(errs...); err != nil {
		return a, err
	}
	if a.Answered == 0 {
		return a, fmt.Errorf("%w: no answer from %s", errAsk, address)
	}
	a.P50, a.P99 = Percentile(times, 0.50), Percentile(times, 0.99)
	return a, nil
}

// dialogue sends a request, waits for its echo, and begins again. On a stream nothing can be lost: no answer is an error there.
func dialogue(conn net.Conn, stream bool, end time.Time) (micros []float64, lost int, err error) {
	timeout := askTimeout
	if stream {
		timeout = streamTimeout
	}
	request, answer := make([]byte, loadPayload), make([]byte, loadPayload)
	for number := uint64(1); ; number++ {
		sent := time.Now()
		if sent.After(end) {
			return micros, lost, nil
		}
		binary.BigEndian.PutUint64(request, number)
		if err := conn.SetReadDeadline(sent.Add(timeout)); err != nil {
			return micros, lost, err
		}
		if _, err := conn.Write(request); err != nil {
			return micros, lost, fmt.Errorf("request: %w", err)
		}
		for {
			if stream {
				_, err = io.ReadFull(conn, answer)
			} else {
				_, err = conn.Read(answer)
			}
			if err != nil && (stream || !errors.Is(err, os.ErrDeadlineExceeded)) {
				return micros, lost, fmt.Errorf("answer: %w", err)
			}
			if err != nil {
				lost++
				break
			}
			if binary.BigEndian.Uint64(answer) == number {
				micros = append(micros, float64(time.Since(sent).Nanoseconds())/1e3)
				break
			}
		}
	}
}

// connections makes one short connection after the other. Nothing can be lost, as on a stream: what does not come in time is an error.
func connections(address string, end time.Time) (micros []float64, err error) {
	request, answer := make([]byte, loadPayload), make([]byte, loadPayload)
	for number := uint64(1); ; number++ {
		begun := time.Now()
		if begun.After(end) {
			return micros, nil
		}
		binary.BigEndian.PutUint64(request, number)
		if err := connection(address, begun.Add(streamTimeout), request, answer); err != nil {
			return micros, fmt.Errorf("connection %d: %w", number, err)
		}
		micros = append(micros, float64(time.Since(begun).Nanoseconds())/1e3)
	}
}

// connection is one request over a connection of its own. Who asks closes first and waits until the other end has done so too: all of the exchange lies within it, and none of it
// is left to be done beside the next one.
func connection(address string, deadline time.Time, request, answer []byte) error {
	c, err := (&net.Dialer{Deadline: deadline}).Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	conn := c.(*net.TCPConn)
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := conn.Write(request); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	if _, err := io.ReadFull(conn, answer); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if !bytes.Equal(answer, request) {
		return errors.New("answer: it is another request's")
	}
	if err := conn.CloseWrite(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	switch n, err := conn.Read(answer); {
	case n > 0:
		return fmt.Errorf("close: %d bytes after the answer", n)
	case err != io.EOF:
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// Dialogue is requests and answers between services at two sites.
type Dialogue struct {
	Network string // udp or tcp, or connectRequest
	Flows   int    // requests in flight, each on a socket of its own
	Place   Placement
}

// Placement is where the hosts of a dialogue run, with all that belongs to them. To wake a thread of another CPU takes longer than all the rest of a round trip, and
// the scheduler leaves two ends that talk to each other now on one CPU and now on two.
type Placement int

const (
	Anywhere Placement = iota // where the scheduler puts them: it is luck what is measured
	Together                  // all on one CPU: what a round trip costs
	Apart                     // each host on a CPU of its own, as two machines have
)

// cpus are those of the one and the other host, counted from 0, or nothing.
func (p Placement) cpus() []int {
	switch p {
	case Together:
		return []int{0, 0}
	case Apart:
		return []int{0, 1}
	}
	return nil
}

// Ask measures a dialogue for d. This program, started anew, is both ends.
func (g Dialogue) Ask(from, to Site, d time.Duration) (a Answers, err error) {
	for i, cpu := range g.Place.cpus() {
		for _, h := range []Site{from, to}[i].hosts() {
			defer func() { err = errors.Join(err, h.Unpin()) }()
			if err := h.Pin(cpu); err != nil {
				return a, err
			}
		}
	}
	if g.Network == connectRequest {
		if err := reusePorts(from.Host); err != nil {
			return a, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return a, err
	}
	echo, far, err := startEcho(self, to)
	if err != nil {
		return a, err
	}
	defer echo.Stop()
	said, err := from.Host.Command(self, AskCommand, g.Network, far.String(), strconv.Itoa(g.Flows), d.String())
	if err != nil {
		return a, fmt.Errorf("%w: %w", errAsk, err)
	}
	if err := json.Unmarshal([]byte(said), &a); err != nil {
		return a, fmt.Errorf("%w: %w", errAsk, err)
	}
	return a, nil
}

// startEcho has a program answer at a site, and says where.
func startEcho(self string, at Site) (echo *lab.Process, far netip.AddrPort, err error) {
	if echo, err = at.Host.Start(self, EchoCommand, at.Addr.String()); err != nil {
		return nil, far, err
	}
	for end := time.Now().Add(startTimeout); !strings.HasSuffix(echo.Output(), "\n"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			err = fmt.Errorf("%w: echo does not start: %s", errAsk, echo.Output())
			return nil, far, errors.Join(err, echo.Stop())
		}
	}
	if far, err = netip.ParseAddrPort(strings.TrimSpace(echo.Output())); err != nil {
		return nil, far, errors.Join(fmt.Errorf("%w: echo: %w", errAsk, err), echo.Stop())
	}
	return echo, far, nil
}

// reusePorts lets a host make short connections without end. Who closes first keeps the port for a minute (TIME_WAIT), and by default there are 28,232 of them, which ten
// thousand connections a second use up in three. So there are more, and each is taken again after a second: timestamps tell the new connection from the former one (RFC 6191),
// and what is sent stays the same. Below 10000 are the ports that the systems under test listen on.
func reusePorts(h *lab.Host) error {
	for _, setting := range [][2]string{{"ip_local_port_range", "10000 65535"}, {"tcp_tw_reuse", "1"}} {
		if err := h.Sysctl("net/ipv4/"+setting[0], setting[1]); err != nil {
			return fmt.Errorf("ports of connections: %w", err)
		}
	}
	return nil
}
