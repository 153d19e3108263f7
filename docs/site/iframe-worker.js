// The search runs in a worker. A page that was opened as a file may not start one, so there it runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.onload = () => {
        const inside = this.frame.contentWindow;
        inside.postMessage = (data) => setTimeout(() => this.onmessage?.({ data: structuredClone(data) }));
        const script = inside.document.createElement("script");
        script.src = new URL(url, document.baseURI);
        script.onload = () => {
          const waiting = this.waiting;
          this.waiting = null;
          waiting.forEach((data) => this.postMessage(data));
        };
        script.onerror = (problem) => this.onerror?.(problem);
        inside.document.body.append(script);
      };
      document.body.append(this.frame);
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else setTimeout(() => {
        const message = new MessageEvent("message", { data: structuredClone(data) });
        this.frame.contentWindow?.dispatchEvent(message);
      });
    }
    terminate() {
      this.frame.remove();
    }
  };
}
