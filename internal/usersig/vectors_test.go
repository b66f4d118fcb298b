package usersig_test

// vectors are tickets made by the public npm package tls-sig-api-v2 1.0.2 with its clock at 1700000000, and the code
// they must answer for SDKAppID 1400000001 at 1795384375 (protocol 01 §16).
var vectors = []struct {
	name   string
	userID string
	code   int
	sig    string
	json   string
}{
	{
		name: "V1 valid", userID: "alice", code: 0,
		sig:  "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwok5mcmpUInilOzEgoLMFCUrQxMDCDCEyJRk5qYqWRmaQ0UNIKKpFQWZRSBxU3MzCyTx4sx0JSslXzNLk7wkX3NXX79k7bBiA-N876AII88kFw9t12Qn-zQLQ*diH1*fkMSKSFulWgAu*zAx",
		json: `{"TLS.ver":"2.0","TLS.identifier":"alice","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":1576800000,"TLS.sig":"M694nbM7EMNc+Vs07oKRX2IbDH+EcBOf81CsLMLTaxY="}`,
	},
	{
		name: "V2 expired", userID: "alice", code: 70001,
		sig:  "eJw1ybEKwjAUheF3ubOUpNRGAi4uGshUM7kV7029tkpISiuK7y409Wzn*z-g7LmYKIKGshCwWT4jPUf2vHA78JXWkLBvQ2AELSuRJ3MZ*UGgpVpVZKVX4Eigd3X1p8QdaNhSNPZuy6azgszhgm83WVS9CwM79NF4dTomz81t3sP3B42eMUg_",
		json: `{"TLS.ver":"2.0","TLS.identifier":"alice","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":86400,"TLS.sig":"5erILjL2RgL0eIBZdzTvLd7kTpliTdfrIf7HGsfiRhw="}`,
	},
	{
		name: "V3 userbuf", userID: "bob", code: 0,
		sig:  "eJxNzUELgjAcBfDv8r8W4qzUBh4icgTZwUTpuLkZf7RaU2MQffdIDXq393uH94LscHKeygAFz3FhPnSU6tZhhQOLu5i4lTXXGiVQsnTHkHHp8KqAkmBSd1RlNZqvrwI--PO*VUb0FVDgLG8FC6PfAV6AQlfEBBvZeKVJZ8lid457lW0K7afJ1rP8caz3AWE2XzdlBO8P6OI4HQ__",
		json: `{"TLS.ver":"2.0","TLS.identifier":"bob","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":1576800000,"TLS.userbuf":"aGVsbG8=","TLS.sig":"tWF1ildl2crR+M3EYFueTAWp6RMC2xaqNkI71GxV9lc="}`,
	},
	{
		name: "V4 non-ASCII user", userID: "用户_1", code: 0,
		sig:  "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBws*nrHjWsT3eECpXnJKdWFCQmaJkZWhiAAGGEJmSzNxUJStDc6ioAUQ0taIgswgkbmpuZoEkXpyZrmSl5FZimRZUlRrhbpzhXult7ueTpB-sWxzqaWbmXxwU4J-i7WHql5lklptYlG6rVAsA*SU0Kw__",
		json: `{"TLS.ver":"2.0","TLS.identifier":"用户_1","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":1576800000,"TLS.sig":"Ft9fRzeXG3hGyK7NLb/SMsUI66OsRPOdKH5Nib6marg="}`,
	},
	{
		name: "V5 binary userbuf", userID: "bob", code: 0,
		sig:  "eJxNzUsLgkAUBeD-ctdhjpraQIspIYqGkBJt2TRT3h4qPnrSf48cg87mcr67OC9YL1bGVZVAwTJM6LUdpcpq3GPLIhcdV-K0LQqUQIlj6hD9qfGigBKvU1OruhdYfn3guf6fN5UqRbMHCoyxYHMZYmTPlyxkjAdZEDGd-q09o984HoBCbY8TeTueH7HCB386zJ2mPO3zZjcLRU4mlueLMD76yZKP4P0BSu0-7A__",
		json: `{"TLS.ver":"2.0","TLS.identifier":"bob","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":1576800000,"TLS.userbuf":"AAADYm9iU3JOAQAAMDnDUAAAAAAA/wAAAAA=","TLS.sig":"t3BXdwjlyWeiyMz4A6GhMh/MucIQbo1C278bQWj8XOM="}`,
	},
	{
		name: "V6 another secret", userID: "alice", code: 70009,
		sig:  "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwok5mcmpUInilOzEgoLMFCUrQxMDCDCEyJRk5qYqWRmaQ0UNIKKpFQWZRSBxU3MzCyTx4sx0JSslQ-PsiDLT8oxszyq-TH0Pc9*kpMCSkIxMD7dAEzNvtwK3LF-DqqTiMJdyR1ulWgBYizGK",
		json: `{"TLS.ver":"2.0","TLS.identifier":"alice","TLS.sdkappid":1400000001,"TLS.time":1700000000,"TLS.expire":1576800000,"TLS.sig":"17kXv5whkIzNi/H7MbbQtThiHFQ46KFpFjM1zbsVDwA="}`,
	},
	{
		name: "V7 another app", userID: "alice", code: 70014,
		sig:  "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwok5mcmpUInilOzEgoLMFCUrQxMDCDCCyJRk5qYqWRmaQ0UNIKKpFQWZRSBxU3MzCyTx4sx0JSsln0KfTGOfirBkQ**i7MooX8OS7Kzk4CqnDMskC7eqAuNQH9cMk3JjY*MiA1ulWgBk7DGI",
		json: `{"TLS.ver":"2.0","TLS.identifier":"alice","TLS.sdkappid":1400000002,"TLS.time":1700000000,"TLS.expire":1576800000,"TLS.sig":"LqLi3LxVc1KrkyZM1tkjcSzBh9b8Fzp3ULEh4w333r0="}`,
	},
}
