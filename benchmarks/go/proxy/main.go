// A proxy in Go: proxy UPSTREAM_PORT prints its own port, and forwards with io.Copy in both directions.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func forward(dst, src *net.TCPConn, done chan<- struct{}) {
	io.Copy(dst, src)
	dst.CloseWrite()
	done <- struct{}{}
}

func serve(client *net.TCPConn, upstream string) {
	defer client.Close()
	conn, err := net.Dial("tcp", upstream)
	if err != nil {
		return
	}
	defer conn.Close()
	server, done := conn.(*net.TCPConn), make(chan struct{}, 2)
	go forward(server, client, done)
	go forward(client, server, done)
	<-done
	<-done
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go serve(client.(*net.TCPConn), "127.0.0.1:"+os.Args[1])
	}
}
