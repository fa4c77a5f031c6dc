{{- define "ratchet.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "ratchet.selector" -}}
app.kubernetes.io/name: ratchet
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ratchet.labels" -}}
{{ include "ratchet.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "ratchet.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* Workers close their lanes, leave the group and close again, each within RATCHET_SHUTDOWN_SECONDS. */}}
{{- define "ratchet.grace" -}}
{{ add 15 (mul 3 (int (.Values.settings.RATCHET_SHUTDOWN_SECONDS | default 10))) }}
{{- end }}

{{- define "ratchet.partitions" -}}
{{ int (.Values.settings.RATCHET_PARTITIONS | default 12) }}
{{- end }}

{{- define "ratchet.env" -}}
- {name: RATCHET_SECRETS_DIR, value: /run/secrets/ratchet}
- {name: RATCHET_HTTP_HOST, value: 0.0.0.0}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ kindIs "float64" $value | ternary (int64 $value) $value | toString | quote }}}
{{- end }}
{{- end }}

{{- define "ratchet.pod" -}}
automountServiceAccountToken: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: secret
    secret: {secretName: {{ .Values.secret }}, defaultMode: 0440}
  - name: tmp
    emptyDir: {sizeLimit: 2Gi}
  {{- with .Values.certificates }}
  - name: certificates
    secret: {secretName: {{ . }}, defaultMode: 0440}
  {{- end }}
{{- end }}

{{- define "ratchet.container" -}}
image: {{ include "ratchet.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: secret, mountPath: /run/secrets/ratchet, readOnly: true}
  - {name: tmp, mountPath: /tmp}
  {{- if .Values.certificates }}
  - {name: certificates, mountPath: /run/certificates, readOnly: true}
  {{- end }}
{{- end }}

{{- define "ratchet.spread" -}}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "ratchet.selector" $.root | nindent 8 }}
        app.kubernetes.io/component: {{ $.component }}
  {{- end }}
{{- end }}
